/** Who asks to be called back, longest waiting first. */
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { radio } from "../strings/radio.ts";
import { side } from "../strings/side.ts";
import { duration } from "../times.ts";
import { useModel } from "./context.ts";

export function CallBacks() {
  const model = useModel();
  const { desk } = model;
  const waiting = desk.callbacks.value;
  beat.value; // ages are counted
  return (
    <section class="callbacks" aria-label={radio("callbacks")}>
      <header class="panel-head">
        <h2>{radio("callbacks")}</h2>
        <span class="dim num">{waiting.length > 0 && side("callbacks_waiting", { n: waiting.length })}</span>
      </header>
      {waiting.length === 0 && <p class="dim panel-none">{side("callbacks_none")}</p>}
      <ul>
        {waiting.map((one) => (
          <li key={one.id} data-callback={one.id}>
            <strong>{one.name}</strong>
            {one.times > 1 && <span class="num"> ×{one.times}</span>}
            <span class="dim num"> · {side("ago", { time: duration(serverTime() - one.at) })}</span>
            {one.group && <span class="dim"> · {desk.nameOf(one.group)}</span>}
            {one.text && <p>{one.text}</p>}
            {one.takenBy && <p class="dim">{side("callback_taken", { name: one.takenBy })}</p>}
            <div class="buttons">
              <button
                type="button"
                onClick={() => {
                  if (!one.takenBy) desk.takeCallBack(one.id, false);
                  void desk.call({ unit: one.unit, user: one.unit ? "" : one.user }, "full");
                }}
              >
                <Icon name="phone" /> {side("callback_call")}
              </button>
              {!one.takenBy && (
                <button type="button" class="quiet" onClick={() => desk.takeCallBack(one.id, false)}>
                  {side("callback_take")}
                </button>
              )}
              <button type="button" class="quiet" onClick={() => desk.takeCallBack(one.id, true)}>
                {side("callback_done")}
              </button>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
