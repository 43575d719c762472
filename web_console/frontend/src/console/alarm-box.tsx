/** Parking or closing an alarm: with a reason, and what happened to it so far. */
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import type { AlarmAct } from "../messages.ts";
import { type BoxKey, box } from "../strings/radio-boxes.ts";
import { clockTime } from "../times.ts";
import { useModel } from "./context.ts";
import { FormBox } from "./form-box.tsx";
import { NumberChoice } from "./number-choice.tsx";
import { ReasonField } from "./reason.tsx";

const PARK_MINUTES = [5, 10, 15, 30, 60];

export function AlarmBox({ id, act, close }: { id: string; act: "park" | "close"; close: () => void }) {
  const model = useModel();
  const alarm = model.world.value.alarm.get(id);
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState(10);
  const title = box(act === "park" ? "alarm_park_title" : "alarm_close_title", { name: alarm?.name ?? "" });
  const perform = async (): Promise<Problem | null> => {
    const fields = { alarm: id, act, reason: reason.trim(), seconds: act === "park" ? minutes * 60 : 0 };
    const outcome = await model.link.command("alarm.move", fields, "resend");
    return outcome.ok ? null : outcome.problem;
  };
  return (
    <FormBox
      title={title}
      about={<p>{box(act === "park" ? "alarm_park_what" : "alarm_close_what")}</p>}
      deed={box(act === "park" ? "alarm_park_do" : "alarm_close_do")}
      ready={reason.trim() !== ""}
      act={perform}
      close={close}
      after={alarm && alarm.history.length > 0 && <History of={alarm.history} />}
    >
      <ReasonField id="alarm-reason" value={reason} change={setReason} />
      {act === "park" && (
        <NumberChoice
          id="alarm-minutes"
          label={box("park_for")}
          value={minutes}
          of={PARK_MINUTES}
          say={(n) => box("minutes", { n })}
          change={setMinutes}
        />
      )}
    </FormBox>
  );
}

function History({ of }: { of: readonly AlarmAct[] }) {
  return (
    <section>
      <h3>{box("history")}</h3>
      <ul class="history num">
        {of.map((one) => (
          <li key={`${one.at}${one.act}`}>
            <span class="dim">{clockTime(one.at)}</span> {one.by}{" "}
            {ACTS[one.act] ? box(ACTS[one.act] as BoxKey) : one.act}
            {one.pressed !== null && ` · ${box("did_press", { time: clockTime(one.pressed) })}`}
            {one.text && ` · ${one.text}`}
          </li>
        ))}
      </ul>
    </section>
  );
}

const ACTS: Record<string, BoxKey> = {
  raised: "did_raise",
  again: "did_again",
  acknowledged: "did_acknowledge",
  parked: "did_park",
  resumed: "did_resume",
  woke: "did_wake",
  escalated: "did_escalate",
  closed: "did_close",
};
