/** Who may be in a group: units and roles to tick, whether they may talk, and who goes first. */
import { useState } from "preact/hooks";
import type { Member, MemberWish } from "../messages.ts";
import { rowsOf } from "../store.ts";
import { type BoxKey, box } from "../strings/radio-boxes.ts";
import { useModel } from "./context.ts";

const ROLE_KEYS: Record<string, BoxKey> = {
  dispatcher: "role_dispatchers",
  field: "role_fields",
  guest: "role_guests",
  admin: "role_admins",
  device: "role_devices",
};
/** Those that can be chosen; of the others only what is a member already is shown. */
const ROLES = ["dispatcher", "field", "guest"];

export function roleWords(role: string): string {
  const key = ROLE_KEYS[role];
  return key ? box(key) : role;
}

/** Of who is made a member. */
const PRIORITY = 4;
const PRIORITIES = Array.from({ length: 16 }, (_, at) => 15 - at);
/** Those that have a name; officers have at least theirs in every group. */
const NAMED: Record<number, BoxKey> = { 12: "priority_high", 8: "priority_officer", 4: "priority_usual" };

export function priorityWords(priority: number): string {
  const name = NAMED[priority];
  return box("priority", { n: priority }) + (name ? ` ${box(name)}` : "");
}

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
    ...[...new Set([...ROLES, ...members.filter((one) => one.kind === "role").map((one) => one.id)])].map(
      (role): Choosable => ({ kind: "role", id: role, name: roleWords(role) }),
    ),
    ...known.filter((one) => one.kind === "user").map(({ kind, id, name }) => ({ kind, id, name })),
  ];
  const of = (one: Choosable): MemberWish | undefined =>
    members.find((member) => member.kind === one.kind && member.id === one.id);
  const tick = (one: Choosable, on: boolean): void => {
    const rest = members.filter((member) => member.kind !== one.kind || member.id !== one.id);
    change(on ? [...rest, { kind: one.kind, id: one.id }] : rest);
  };
  const set = (one: Choosable, part: Partial<MemberWish>): void =>
    change(
      members.map((member) =>
        member.kind === one.kind && member.id === one.id ? { ...member, ...part } : member,
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
                <span class="member-rights dim">
                  <label>
                    <input
                      type="checkbox"
                      checked={member.talk !== false}
                      onChange={(event) => set(one, { talk: event.currentTarget.checked })}
                    />
                    {box("may_talk")}
                  </label>
                  <select
                    aria-label={box("priority_of", { name: one.name })}
                    disabled={member.talk === false}
                    value={String(member.priority ?? PRIORITY)}
                    onChange={(event) => set(one, { priority: Number(event.currentTarget.value) })}
                  >
                    {PRIORITIES.map((priority) => (
                      <option key={priority} value={String(priority)}>
                        {priorityWords(priority)}
                      </option>
                    ))}
                  </select>
                </span>
              )}
            </li>
          );
        })}
      </ul>
    </fieldset>
  );
}
