/** Parking or closing an alarm: with a reason, and what happened to it so far. */
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { type BoxKey, box } from "../strings/radio-boxes.ts";
import { clockTime } from "../times.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { NumberChoice } from "./number-choice.tsx";
import { ReasonField } from "./reason.tsx";

const PARK_MINUTES = [5, 10, 15, 30, 60];

export function AlarmBox({ id, act, close }: { id: string; act: "park" | "close"; close: () => void }) {
  const model = useModel();
  const alarm = model.world.value.alarm.get(id);
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState(10);
  const [problem, setProblem] = useState<Problem | null>(null);
  const title = box(act === "park" ? "alarm_park_title" : "alarm_close_title", { name: alarm?.name ?? "" });
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!reason.trim()) return;
    const fields = { alarm: id, act, reason: reason.trim(), seconds: act === "park" ? minutes * 60 : 0 };
    const outcome = await model.link.command("alarm.move", fields, "resend");
    if (outcome.ok) close();
    else setProblem(outcome.problem);
  };
  return (
    <Dialog title={title} close={close}>
      <form class="box-form" onSubmit={submit}>
        <p>{box(act === "park" ? "alarm_park_what" : "alarm_close_what")}</p>
        {problem && <ProblemNotice what={title} problem={problem} wait={0} />}
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
        <div class="buttons">
          <button type="submit" class="primary" disabled={!reason.trim()}>
            {box(act === "park" ? "alarm_park_do" : "alarm_close_do")}
          </button>
          <button type="button" onClick={close}>
            {box("cancel")}
          </button>
        </div>
      </form>
      {alarm && alarm.history.length > 0 && (
        <section>
          <h3>{box("history")}</h3>
          <ul class="history num">
            {alarm.history.map((one) => (
              <li key={`${one.at}${one.act}`}>
                <span class="dim">{clockTime(one.at)}</span> {one.by}{" "}
                {ACTS[one.act] ? box(ACTS[one.act] as BoxKey) : one.act}
                {one.pressed !== null && ` · ${box("did_press", { time: clockTime(one.pressed) })}`}
                {one.text && ` · ${one.text}`}
              </li>
            ))}
          </ul>
        </section>
      )}
    </Dialog>
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
