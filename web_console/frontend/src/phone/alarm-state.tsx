/** What became of the SOS: kept, sent, acknowledged by whom, closed; and whether that is still known. */
import { beat, byServer, now, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Alarm } from "../messages.ts";
import { errorWords } from "../strings/common.ts";
import { say } from "../strings/phone-talk.ts";
import { clockTime } from "../times.ts";
import { isLate } from "../voice/late.ts";
import type { PhoneModel } from "./model.ts";
import type { SosState } from "./sos-core.ts";

export function AlarmState({ model }: { model: PhoneModel }) {
  const state = model.sos.state.value;
  const alarm = model.sos.alarm.value;
  return (
    <div class="alarm-states" aria-live="assertive">
      {state.phase === "pending" && <Pending model={model} state={state} />}
      {state.phase === "open" && <OpenMicrophone model={model} left={state.until - model.sos.at.value} />}
      {alarm && state.phase !== "pending" && <Raised model={model} alarm={alarm} />}
    </div>
  );
}

function Pending({ model, state }: { model: PhoneModel; state: SosState & { phase: "pending" } }) {
  const { problem, trying, pending } = state;
  const words = trying
    ? say("sos_pending_trying")
    : problem
      ? say("sos_pending_problem", { reason: errorWords(problem).reason })
      : say("sos_pending_offline");
  return (
    <section class="alarm alarm-pending" data-alarm="pending">
      <Icon name="send" size={26} />
      <div>
        <strong>{say("sos_pending")}</strong>{" "}
        <span class="num">{say("sos_pending_since", { time: clockTime(byServer(pending.at)) })}</span>
        <p>{words}</p>
        {model.sos.cancellable.value && (
          <button type="button" onClick={() => model.sos.cancel()}>
            {say("sos_cancel")}
          </button>
        )}
      </div>
    </section>
  );
}

function OpenMicrophone({ model, left }: { model: PhoneModel; left: number }) {
  const { microphone, phase } = model.radio.talk.press.value;
  const heard = microphone && phase === "talking";
  return (
    <section class={`alarm ${heard ? "alarm-open" : "alarm-pending"}`} data-alarm-microphone={heard}>
      <Icon name={heard ? "mic" : "mic-off"} size={26} />
      <div>
        <strong>
          {heard ? say("sos_open", { n: Math.max(0, Math.ceil(left)) }) : say("sos_open_closed")}
        </strong>
      </div>
    </section>
  );
}

function Raised({ model, alarm }: { model: PhoneModel; alarm: Alarm }) {
  beat.value; // the connection's age is counted
  const status = model.link.status.value;
  const lost = status.phase !== "ready";
  const stale = clockTime(serverTime() - (now() - status.heard));
  const live = model.publisher.live.value.kind === "live";
  const closed = alarm.state === "closed";
  const last = alarm.history.at(-1);
  return (
    <section class={`alarm alarm-${alarm.state} ${lost ? "stale" : ""}`} data-alarm={alarm.state}>
      <Icon name={closed ? "check" : "siren"} size={26} />
      <div>
        <strong>
          {closed
            ? say("alarm_closed")
            : alarm.state === "new"
              ? say("alarm_waits")
              : alarm.state === "parked"
                ? say("alarm_parked", { name: alarm.owner })
                : say("alarm_taken", { name: alarm.owner })}
        </strong>
        <p class="num">
          {closed ? (
            say("alarm_closed_by", { name: last?.by || alarm.owner, reason: alarm.reason })
          ) : (
            <>
              {isLate(alarm)
                ? say("alarm_late", { pressed: clockTime(alarm.pressed), time: clockTime(alarm.raised) })
                : say("alarm_sent", { time: clockTime(alarm.raised) })}
              {alarm.times > 1 && ` · ${say("alarm_times", { n: alarm.times })}`}
              {` · ${alarm.position ? say("alarm_place") : say("alarm_no_place")}`}
              {` · ${live ? say("alarm_camera") : say("alarm_no_camera")}`}
            </>
          )}
        </p>
        {alarm.state === "new" && <p>{say("alarm_false")}</p>}
        {lost && <p class="num">{say("alarm_stale", { time: stale })}</p>}
      </div>
      {closed && (
        <button type="button" onClick={() => model.sos.dismiss()}>
          {say("dismiss")}
        </button>
      )}
    </section>
  );
}
