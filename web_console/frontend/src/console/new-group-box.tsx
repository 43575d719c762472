/** A group made on the spot: of units, of everybody of a role; for good or for some hours. */
import { useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import type { Commands, MemberWish } from "../messages.ts";
import { box } from "../strings/radio-boxes.ts";
import { useModel } from "./context.ts";
import { FormBox } from "./form-box.tsx";
import { MemberChoice } from "./member-choice.tsx";
import { NumberChoice } from "./number-choice.tsx";

type Kind = NonNullable<Commands["group.create"]["fields"]["kind"]>;
const KINDS = ["dynamic", "temporary", "broadcast"] as const;
const KEYS = { dynamic: "kind_dynamic", temporary: "kind_temporary", broadcast: "kind_broadcast" } as const;
const HOURS = [1, 2, 4, 8, 12, 24, 72];

export function NewGroupBox({ close }: { close: () => void }) {
  const model = useModel();
  const [name, setName] = useState("");
  const [kind, setKind] = useState<Kind>("dynamic");
  const [hours, setHours] = useState(8);
  const [members, setMembers] = useState<readonly MemberWish[]>(() => {
    const unit = model.selectedUnit();
    return unit ? [{ kind: "unit", id: unit.id }] : [];
  });
  const act = async (): Promise<Problem | null> => {
    const outcome = await model.link.command(
      "group.create",
      { name: name.trim(), kind, members: [...members], hours: kind === "temporary" ? hours : null },
      "once",
    );
    if (!outcome.ok) return outcome.problem;
    model.sayText(box("created", { name: name.trim() }));
    return null;
  };
  return (
    <FormBox title={box("new_title")} deed={box("create")} ready={name.trim() !== ""} act={act} close={close}>
      <div class="field">
        <label for="group-name">{box("name")}</label>
        <input
          id="group-name"
          value={name}
          maxLength={64}
          placeholder={box("name_hint")}
          onInput={(event) => setName(event.currentTarget.value)}
          required
          autofocus
        />
      </div>
      <fieldset class="box-set">
        <legend>{box("kind")}</legend>
        {KINDS.map((one) => (
          <label key={one}>
            <input type="radio" name="kind" checked={kind === one} onChange={() => setKind(one)} />
            {box(KEYS[one])}
          </label>
        ))}
      </fieldset>
      {kind === "temporary" && (
        <NumberChoice
          id="group-hours"
          label={box("lasts")}
          value={hours}
          of={HOURS}
          say={(n) => box("hours", { n })}
          change={setHours}
        />
      )}
      <MemberChoice members={members} change={setMembers} />
    </FormBox>
  );
}
