/** Who may be in a group: units and roles to tick, and whether they may talk. */
import { useState } from "preact/hooks";
import type { Member, MemberWish } from "../messages.ts";
import { rowsOf } from "../store.ts";
import { box } from "../strings/radio-boxes.ts";
import { useModel } from "./context.ts";

const ROLES = ["dispatcher", "field"] as const;
const ROLE_KEYS = { dispatcher: "role_dispatchers", field: "role_fields" } as const;

interface Choosable {
  kind: MemberWish["kind"];
  id: string;
  name: string;
}

export function MemberChoice({
  members,
  known = [],
  change,
}: {
  members: readonly MemberWish[];
  /** Members that are no units: accounts, whose names only the group tells. */
  known?: readonly Member[];
  change: (members: readonly MemberWish[]) => void;
}) {
  const model = useModel();
  const [search, setSearch] = useState("");
  const units = rowsOf(model.world.value, search).map(
    ({ unit }): Choosable => ({ kind: "unit", id: unit.id, name: `${unit.number} ${unit.name}` }),
  );
  const others: Choosable[] = [
    ...ROLES.map((role): Choosable => ({ kind: "role", id: role, name: box(ROLE_KEYS[role]) })),
    ...known.filter((one) => one.kind === "user").map(({ kind, id, name }) => ({ kind, id, name })),
  ];
  const of = (one: Choosable): MemberWish | undefined =>
    members.find((member) => member.kind === one.kind && member.id === one.id);
  const tick = (one: Choosable, on: boolean): void => {
    const rest = members.filter((member) => member.kind !== one.kind || member.id !== one.id);
    change(on ? [...rest, { kind: one.kind, id: one.id }] : rest);
  };
  const allow = (one: Choosable, talk: boolean): void =>
    change(
      members.map((member) =>
        member.kind === one.kind && member.id === one.id ? { ...member, talk } : member,
      ),
    );
  return (
    <fieldset class="box-set members">
      <legend>{box("members", { n: members.length })}</legend>
      <input
        type="search"
        value={search}
        placeholder={box("search_units")}
        aria-label={box("search_units")}
        onInput={(event) => setSearch(event.currentTarget.value)}
      />
      <ul>
        {[...others, ...units].map((one) => {
          const member = of(one);
          return (
            <li key={one.kind + one.id}>
              <label>
                <input
                  type="checkbox"
                  checked={member !== undefined}
                  onChange={(event) => tick(one, event.currentTarget.checked)}
                />
                {one.name}
              </label>
              {member && (
                <label class="dim">
                  <input
                    type="checkbox"
                    checked={member.talk !== false}
                    onChange={(event) => allow(one, event.currentTarget.checked)}
                  />
                  {box("may_talk")}
                </label>
              )}
            </li>
          );
        })}
      </ul>
    </fieldset>
  );
}
