/** A search in recorded transmissions: by group, talker or text, time, and emergencies alone. */
import { useEffect, useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Spurt } from "../messages.ts";
import { type BoxKey, box } from "../strings/radio-boxes.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { useModel } from "./context.ts";
import { withHolds } from "./holds.ts";
import { SpurtRows } from "./spurt-list.tsx";

const PAGE = 50;
/** Hours back; 0 = any time. */
const SINCE: readonly (readonly [number, BoxKey])[] = [
  [0, "since_any"],
  [1, "since_hour"],
  [8, "since_shift"],
  [24, "since_day"],
  [168, "since_week"],
];

interface Asked {
  group: string;
  unit: string;
  text: string;
  hours: number;
  emergency: boolean;
  held: boolean;
}

const ANYTHING: Asked = { group: "", unit: "", text: "", hours: 0, emergency: false, held: false };

export function SpurtSearch() {
  const model = useModel();
  const [asked, setAsked] = useState<Asked>(ANYTHING);
  const [found, setFound] = useState<readonly Spurt[] | null>(null);
  const [more, setMore] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const ask = async (what: Asked, after: readonly Spurt[]): Promise<void> => {
    const outcome = await model.link.command(
      "spurt.search",
      {
        groups: what.group ? [what.group] : [],
        unit: what.unit,
        text: what.text.trim(),
        since: what.hours ? serverTime() - what.hours * 3600 : null,
        emergency: what.emergency,
        held: what.held,
        before: after.at(-1)?.id ?? "",
        limit: PAGE,
      },
      "now",
    );
    setProblem(outcome.ok ? null : outcome.problem);
    if (!outcome.ok) return;
    setFound([...after, ...outcome.value.spurts]);
    setMore(outcome.value.more);
  };
  const ready = model.link.status.value.phase === "ready";
  useEffect(() => {
    if (ready && found === null) void ask(ANYTHING, []);
  }, [ready]);
  const holds = model.world.value.hold;
  useEffect(() => setFound((all) => all && withHolds(all, holds)), [holds]);
  const set = (part: Partial<Asked>): void => setAsked({ ...asked, ...part });
  return (
    <section class="spurt-search" aria-label={box("search_title")}>
      <h2>{box("search_title")}</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void ask(asked, []);
        }}
      >
        <div class="field">
          <label for="spurt-group">{box("by_group")}</label>
          <select
            id="spurt-group"
            value={asked.group}
            onChange={(event) => set({ group: event.currentTarget.value })}
          >
            <option value="">{box("any_group")}</option>
            {model.desk.groups.value.map((group) => (
              <option key={group.id} value={group.id}>
                {group.number} {group.name}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="spurt-unit">{box("by_unit")}</label>
          <select
            id="spurt-unit"
            value={asked.unit}
            onChange={(event) => set({ unit: event.currentTarget.value })}
          >
            <option value="">{box("any_unit")}</option>
            {[...model.world.value.unit.values()]
              .sort((a, b) => a.number - b.number)
              .map((unit) => (
                <option key={unit.id} value={unit.id}>
                  {unit.number} {unit.name}
                </option>
              ))}
          </select>
        </div>
        <div class="field">
          <label for="spurt-text">{box("by_text")}</label>
          <input
            id="spurt-text"
            type="search"
            value={asked.text}
            placeholder={box("by_text_hint")}
            onInput={(event) => set({ text: event.currentTarget.value })}
          />
        </div>
        <div class="field">
          <label for="spurt-since">{box("by_time")}</label>
          <select
            id="spurt-since"
            value={String(asked.hours)}
            onChange={(event) => set({ hours: Number(event.currentTarget.value) })}
          >
            {SINCE.map(([hours, key]) => (
              <option key={hours} value={String(hours)}>
                {box(key)}
              </option>
            ))}
          </select>
        </div>
        <label class="box-check">
          <input
            type="checkbox"
            checked={asked.emergency}
            onChange={(event) => set({ emergency: event.currentTarget.checked })}
          />
          {box("only_emergency")}
        </label>
        <label class="box-check">
          <input
            type="checkbox"
            checked={asked.held}
            onChange={(event) => set({ held: event.currentTarget.checked })}
          />
          {box("only_held")}
        </label>
        <button type="submit" class="primary">
          <Icon name="search" /> {box("search")}
        </button>
      </form>
      {problem && <ProblemNotice what={box("search")} problem={problem} wait={0} />}
      {found?.length === 0 && <p class="dim panel-none">{box("found_none")}</p>}
      <SpurtRows spurts={found ?? []} />
      {more && (
        <button type="button" onClick={() => void ask(asked, found ?? [])}>
          {box("older")}
        </button>
      )}
    </section>
  );
}
