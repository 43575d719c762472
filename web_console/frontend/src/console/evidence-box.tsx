/** Keeping a recording as evidence, or letting it go again: with a reason. */
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import type { Spurt } from "../messages.ts";
import { box } from "../strings/radio-boxes.ts";
import { dateTime } from "../times.ts";
import { useModel } from "./context.ts";
import { FormBox } from "./form-box.tsx";
import { ReasonField } from "./reason.tsx";
import { whereSaid } from "./spurt-list.tsx";

export function EvidenceBox({ spurt, close }: { spurt: Spurt; close: () => void }) {
  const model = useModel();
  const [reason, setReason] = useState("");
  const { hold } = spurt;
  const may = model.may(hold ? "recording.release" : "recording.hold");
  const title = box(hold ? "evidence_held_title" : "evidence_title");
  const act = async (): Promise<Problem | null> => {
    const fields = { spurt: spurt.id, hold: !hold, reason: reason.trim() };
    const outcome = await model.link.command("spurt.hold", fields, "resend");
    if (!outcome.ok) return outcome.problem;
    model.sayText(box(hold ? "evidence_released" : "evidence_kept", { name: spurt.talker.name }));
    return null;
  };
  return (
    <FormBox
      title={title}
      about={
        <>
          <p class="num">
            <strong>{spurt.talker.name}</strong> · {dateTime(spurt.started)} · {whereSaid(spurt)}
          </p>
          {hold && <p>{box("evidence_by", { name: spurt.heldBy, why: spurt.heldWhy })}</p>}
          <p class="dim">
            {box(hold ? (may ? "evidence_release_what" : "evidence_release_who") : "evidence_what")}
          </p>
        </>
      }
      deed={may ? box(hold ? "evidence_release_do" : "evidence_do") : ""}
      ready={reason.trim() !== ""}
      act={act}
      close={close}
    >
      {may && <ReasonField id="evidence-reason" value={reason} change={setReason} />}
    </FormBox>
  );
}
