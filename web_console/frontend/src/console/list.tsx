/** The left panel: units with what they can show, and the card of the chosen one. */
import "../styles/panel.css";
import { useEffect, useRef } from "preact/hooks";
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import type { Stream, Unit } from "../messages.ts";
import { type Row, rowsOf } from "../store.ts";
import { cardWord } from "../strings/cards.ts";
import { causeWords } from "../strings/causes.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { clockTime, duration, shortTime } from "../times.ts";
import { positionOf } from "../video/wall.ts";
import { useModel } from "./context.ts";
import { Menu } from "./menu.tsx";
import { STREAM_DRAG } from "./tile-acts.ts";

const KINDS: Record<string, ConsoleKey> = {
  rescuer: "kind_rescuer",
  vehicle: "kind_vehicle",
  drone: "kind_drone",
  camera: "kind_camera",
  post: "kind_post",
};

const STATES: Record<string, { key: ConsoleKey; icon: IconName; tone: string }> = {
  live: { key: "state_live", icon: "circle-check", tone: "live" },
  connecting: { key: "state_connecting", icon: "hourglass", tone: "wait" },
  stalled: { key: "state_stalled", icon: "triangle-alert", tone: "late" },
  retrying: { key: "state_retrying", icon: "hourglass", tone: "late" },
  offline: { key: "state_offline", icon: "circle-dashed", tone: "stale" },
};

interface Line {
  unit: Unit;
  stream: Stream | null;
  /** The line begins a unit; one that has several streams lists them below each other. */
  first: boolean;
  several: boolean;
}

function linesOf(rows: readonly Row[]): Line[] {
  return rows.flatMap(({ unit, streams }): Line[] =>
    streams.length === 0
      ? [{ unit, stream: null, first: true, several: false }]
      : streams.map((stream, i) => ({ unit, stream, first: i === 0, several: streams.length > 1 })),
  );
}

export function stateWords(stream: Stream): { text: string; icon: IconName; tone: string } {
  const found = STATES[stream.state] ?? { key: "state_offline", icon: "circle-dashed", tone: "stale" };
  return { text: t(found.key as ConsoleKey), icon: found.icon as IconName, tone: found.tone };
}

export function ResourceList() {
  const model = useModel();
  const list = useRef<HTMLDivElement>(null);
  const lines = linesOf(model.rows.value);
  const streams = rowsOf(model.world.value, "").flatMap((row) => row.streams);
  const live = streams.filter((stream) => stream.state === "live").length;
  const chosen = lines.findIndex((line) => keyOf(line) === model.selected.value);
  beat.value; // ages are counted

  const choose = (index: number, focus: boolean): void => {
    const line = lines[Math.max(0, Math.min(lines.length - 1, index))];
    if (!line) return;
    model.selected.value = keyOf(line);
    if (focus) {
      const element = list.current?.querySelector<HTMLElement>(`[data-line="${CSS.escape(keyOf(line))}"]`);
      element?.focus();
      element?.scrollIntoView({ block: "nearest" });
    }
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
    const line = lines[chosen];
    const moves: Record<string, number> = {
      ArrowDown: chosen + 1,
      ArrowUp: chosen - 1,
      Home: 0,
      End: lines.length - 1,
      PageDown: chosen + 10,
      PageUp: chosen - 10,
    };
    const to = moves[event.code];
    if (to !== undefined) choose(to, true);
    else if (event.key === "Enter" && !model.typed.peek() && line?.stream) model.put(line.stream.id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <aside class="panel" aria-label={t("resources")}>
      <header class="panel-head">
        <h2>{t("resources")}</h2>
        <span class="dim num">{t("online_of", { live, all: streams.length })}</span>
      </header>
      <div class="search">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          placeholder={t("search")}
          aria-label={t("search")}
          value={model.search.value}
          onInput={(event) => {
            model.search.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.isComposing) return;
            if (event.key === "ArrowDown" || event.key === "Enter") {
              event.preventDefault();
              choose(Math.max(0, chosen), true);
            } else if (event.key === "Escape") {
              model.search.value = "";
              event.currentTarget.blur();
              event.stopPropagation();
            }
          }}
        />
      </div>
      {lines.length === 0 && (
        <p class="dim panel-none">
          {model.search.value ? t("none_found", { search: model.search.value }) : t("none_yet")}
        </p>
      )}
      <div ref={list} class="lines" role="listbox" aria-label={t("resources")} onKeyDown={onKeyDown}>
        {lines.map((line, i) => (
          <ListLine
            key={keyOf(line)}
            line={line}
            chosen={i === chosen}
            stop={i === Math.max(0, chosen)}
            choose={() => choose(i, false)}
          />
        ))}
      </div>
      {chosen >= 0 && lines[chosen] && <Card line={lines[chosen]} />}
      <footer class="dim num panel-foot">{t("list_true_at", { time: clockTime(model.trueAt.value) })}</footer>
    </aside>
  );
}

const keyOf = (line: Line): string => line.stream?.id ?? line.unit.id;

function ListLine({
  line,
  chosen,
  stop,
  choose,
}: {
  line: Line;
  chosen: boolean;
  stop: boolean;
  choose: () => void;
}) {
  const model = useModel();
  const { unit, stream } = line;
  const words = stream
    ? stateWords(stream)
    : { text: t("no_stream"), icon: "circle-minus" as const, tone: "stale" };
  const place = stream ? positionOf(model.wall.value, stream.id) : -1;
  const age = stream ? duration(serverTime() - stream.since) : "";
  return (
    <div
      role="option"
      aria-selected={chosen}
      tabIndex={stop ? 0 : -1}
      class={`line tone-${words.tone} ${line.first ? "" : "line-more"}`}
      data-line={keyOf(line)}
      data-state={stream?.state ?? "none"}
      draggable={stream !== null}
      onDragStart={(event) => stream && event.dataTransfer?.setData(STREAM_DRAG, stream.id)}
      onPointerUp={choose}
      onFocus={(event) => {
        // not at a press: the card that opens below would push the line from under a drag that begins
        if (event.currentTarget.matches(":focus-visible")) choose();
      }}
      onDblClick={() => stream && model.put(stream.id)}
    >
      <span class="line-number num">{line.first ? unit.number : ""}</span>
      <span class="line-name">
        {line.first && <span>{unit.name}</span>}
        {stream && line.several && <span class="dim"> {stream.name || stream.channel}</span>}
      </span>
      {place >= 0 && (
        <span class="line-place num" title={t("on_wall")}>
          <Icon name="monitor-play" size={12} />
          <span class="only-read">{t("on_wall")}</span> {place + 1}
        </span>
      )}
      <span class="line-state" title={stream?.cause ? causeWords(model.causeOf(stream)).sentence : undefined}>
        <Icon name={words.icon} size={14} />
        {words.text}
        {age && <span class="dim num line-age">{age}</span>}
      </span>
    </div>
  );
}

function Card({ line }: { line: Line }) {
  const model = useModel();
  const { unit, stream } = line;
  const position = unit.position;
  const device = [...model.world.value.device.values()].find((one) =>
    stream ? one.id === stream.device : one.unit === unit.id && !one.revoked,
  );
  const kind = KINDS[unit.kind];
  return (
    <section class="card" aria-label={unit.name}>
      <header>
        <h3>
          <span class="num">{unit.number}</span> {unit.name}
        </h3>
        <span class="dim">{kind ? t(kind) : unit.kind}</span>
      </header>
      {stream?.cause && stream.state !== "live" && (
        <p class="dim">{causeWords(model.causeOf(stream)).sentence}</p>
      )}
      <dl>
        <dt>{t("card_position")}</dt>
        <dd class="num">
          {position ? (
            <>
              {position.lat.toFixed(5)}, {position.lon.toFixed(5)}
              <span class="dim">
                {position.accuracy !== null && ` ${t("card_accuracy", { n: Math.round(position.accuracy) })}`}
                {" · "}
                {t("card_age", { time: duration(serverTime() - position.time) })}
              </span>
            </>
          ) : (
            <span class="dim">{t("card_no_position")}</span>
          )}
        </dd>
        {device && (
          <>
            <dt>{t("card_device")}</dt>
            <dd>
              {device.name} ·{" "}
              {device.online ? (
                t("device_online")
              ) : (
                <span class="dim">
                  {t("device_offline")}
                  {device.lastSeen !== null && ` · ${t("card_seen", { time: shortTime(device.lastSeen) })}`}
                </span>
              )}
            </dd>
          </>
        )}
        {device?.battery !== null && device?.battery !== undefined && (
          <>
            <dt>{t("card_battery")}</dt>
            <dd class={`num ${device.battery <= 15 ? "tone-late" : ""}`}>
              {device.battery} % {device.charging && t("card_charging")}
            </dd>
          </>
        )}
        {device?.network && (
          <>
            <dt>{t("card_network")}</dt>
            <dd>{device.network}</dd>
          </>
        )}
      </dl>
      <div class="buttons">
        {stream && (
          <button type="button" onClick={() => model.put(stream.id)}>
            <Icon name="monitor-play" /> {t("card_place")}
          </button>
        )}
        {model.may("talk.use") && (
          <>
            <button type="button" onClick={() => void model.desk.call({ unit: unit.id }, "full")}>
              <Icon name="phone" /> {cardWord("call_unit_full")}
            </button>
            <button type="button" onClick={() => void model.desk.call({ unit: unit.id }, "half")}>
              {cardWord("call_unit_half")}
            </button>
          </>
        )}
        <CardMenu unit={unit} stream={stream} />
      </div>
    </section>
  );
}

/** What else can be done with the unit, and for whom. */
function CardMenu({ unit, stream }: { unit: Unit; stream: Stream | null }) {
  const model = useModel();
  const closable = stream !== null && stream.state !== "offline" && model.may("stream.close");
  if (!model.may("unit.edit") && !closable) return null;
  return (
    <Menu side="right" up label={<Icon name="ellipsis-vertical" />} name={t("card_more")}>
      {model.may("unit.edit") && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            model.deed.value = { kind: "rename", unit: unit.id };
          }}
        >
          <Icon name="pencil" /> {t("rename")}
        </button>
      )}
      {closable && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            model.deed.value = { kind: "close", stream: stream.id };
          }}
        >
          <Icon name="link-2-off" /> {t("close_stream")}
        </button>
      )}
    </Menu>
  );
}

/** Select the first line that the search leaves, so that Enter means it. */
export function useSearchSelection(): void {
  const model = useModel();
  const search = model.search.value;
  useEffect(() => {
    const first = linesOf(model.rows.peek())[0];
    if (search && first) model.selected.value = keyOf(first);
  }, [search, model]);
}
