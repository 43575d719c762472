/** One tile of the wall: the picture, what is true about it, and what can be done with it. */
import { useEffect, useRef } from "preact/hooks";
import { serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { t } from "../strings/console.ts";
import { dateTime, rate } from "../times.ts";
import type { WallSlot } from "../video/media.ts";
import { looksLive } from "../video/slot.ts";
import { tileWords } from "../video/tile-words.ts";
import { swap } from "../video/wall.ts";
import { useModel } from "./context.ts";
import { SlotPicture, slotMarks } from "./slot-picture.tsx";
import { useSlotState, useSlotVideo } from "./slot-video.ts";
import { download, fileName, snapshot } from "./snapshot.ts";
import { listen, STREAM_DRAG, toggleFullscreen } from "./tile-acts.ts";

const TILE_DRAG = "application/x-fengsui-tile"; // from one place of the grid to another

export function Tile({ slot }: { slot: WallSlot }) {
  const model = useModel();
  const tile = useRef<HTMLElement>(null);
  const video = useSlotVideo(slot);
  const wall = model.wall.value;
  const position = wall.order.indexOf(slot.index);
  const shown = position < wall.layout;
  const focused = shown && position === wall.focus;
  const audible = focused && model.sound.value;
  const playing = audible && !model.soundBlocked.value;

  const stream = slot.want.stream ? model.world.value.stream.get(slot.want.stream) : undefined;
  const state = useSlotState(slot);
  const words = tileWords(state);
  const name = slot.want.stream ? model.nameOf(slot.want.stream) : "";
  const full = model.fullscreen.value === slot.index;

  useEffect(() => {
    const element = tile.current;
    if (!element) return;
    const report = (): void => {
      const pixels = Math.ceil((element.clientHeight * devicePixelRatio) / 10) * 10;
      model.measured(slot.index, pixels);
    };
    const observer = new ResizeObserver(report);
    observer.observe(element);
    return () => observer.disconnect();
  }, [model, slot]);

  useEffect(() => {
    const element = video.current;
    if (!element) return;
    if (!playing) {
      element.muted = true;
      return;
    }
    let wanted = true;
    let tries = 3; // tracks that come meanwhile abort what was asked for before
    const unmute = (): void => {
      element.muted = false;
      element.play().catch((error: unknown) => {
        if (!wanted) return;
        if (error instanceof DOMException && error.name === "AbortError" && --tries) {
          unmute();
          return;
        }
        element.muted = true;
        void element.play().catch(() => undefined);
        model.soundBlocked.value = true; // never a tile that says it is heard and is not
      });
    };
    unmute();
    return () => {
      wanted = false;
    };
  }, [playing, model]);

  useEffect(() => {
    if (
      focused &&
      document.activeElement?.closest(".grid") &&
      !tile.current?.contains(document.activeElement)
    ) {
      tile.current?.focus();
    }
  }, [focused]);

  const take = async (): Promise<void> => {
    const element = video.current;
    const time = dateTime(serverTime());
    const remark = looksLive(state) ? "" : words.text;
    const blob = element && slot.state.hasPicture ? await snapshot(element, { name, time, remark }) : null;
    if (!blob) return model.say("snapshot_none");
    download(blob, fileName(name, time));
    model.say("snapshot_saved", { name: fileName(name, time) });
  };

  const drop = (event: DragEvent): void => {
    event.preventDefault();
    tile.current?.classList.remove("drop");
    const id = event.dataTransfer?.getData(STREAM_DRAG);
    const from = event.dataTransfer?.getData(TILE_DRAG);
    if (id) model.put(id, position);
    else if (from) model.change((one) => ({ ...swap(one, Number(from), position), focus: position }));
  };

  const empty = state.kind === "empty";
  return (
    <article
      ref={tile}
      class={`tile tone-${words.tone}`}
      {...slotMarks(slot, state)}
      aria-label={
        empty
          ? t("tile_empty", { n: position + 1 })
          : t("tile_label", { n: position + 1, name, state: words.text })
      }
      aria-current={focused ? "true" : undefined}
      hidden={!shown}
      style={{ order: position }}
      tabIndex={focused ? 0 : -1}
      onFocusIn={() => {
        if (!focused) model.change((one) => ({ ...one, focus: position }));
      }}
      onPointerDown={() => tile.current?.focus()}
      onDblClick={() => toggleFullscreen(tile.current)}
      draggable={!empty}
      onDragStart={(event) => event.dataTransfer?.setData(TILE_DRAG, String(position))}
      onDragOver={(event) => {
        event.preventDefault();
        tile.current?.classList.add("drop");
      }}
      onDragLeave={() => tile.current?.classList.remove("drop")}
      onDrop={drop}
    >
      <SlotPicture slot={slot} state={state} video={video} icon={28} next />
      {empty && (
        <p class="tile-empty">
          <span class="tile-place">{position + 1}</span>
          {focused && <span class="tile-hint">{t("tile_empty_hint")}</span>}
        </p>
      )}
      {!empty && (
        <>
          {audible && (
            <p class="chip chip-sound">
              <Icon name={stream?.audio && playing ? "volume-2" : "volume-x"} size={14} />
              {!stream?.audio && <span>{t("no_audio")}</span>}
            </p>
          )}
          {model.withStatistics.value.has(slot.index) && <Statistics slot={slot} />}
          <footer>
            <strong class="tile-name">{name}</strong>
            <span class="tile-tools" role="toolbar" aria-label={name}>
              <Tool
                icon={playing ? "volume-2" : "volume-x"}
                label={playing ? t("act_mute") : t("act_listen")}
                pressed={playing}
                reachable={focused}
                act={() => listen(model, position)}
              />
              <Tool
                icon="camera"
                label={t("act_snapshot")}
                keys="S"
                reachable={focused}
                act={() => void take()}
              />
              <Tool
                icon="chart-no-axes-column"
                label={t("act_statistics")}
                keys="I"
                pressed={model.withStatistics.value.has(slot.index)}
                reachable={focused}
                act={() => model.toggleStatistics(slot.index)}
              />
              <Tool
                icon={full ? "minimize" : "maximize"}
                label={full ? t("act_fullscreen_leave") : t("act_fullscreen")}
                keys="F"
                reachable={focused}
                act={() => toggleFullscreen(tile.current)}
              />
              <Tool
                icon="x"
                label={t("act_remove")}
                keys="Delete"
                reachable={focused}
                act={() => model.takeOff(position)}
              />
            </span>
          </footer>
        </>
      )}
    </article>
  );
}

function Tool({
  icon,
  label,
  keys,
  pressed,
  reachable,
  act,
}: {
  icon: IconName;
  label: string;
  keys?: string;
  pressed?: boolean;
  /** By the Tab key: those of the focused tile only. */
  reachable: boolean;
  act: () => void;
}) {
  return (
    <button
      type="button"
      class="quiet tool"
      title={keys ? `${label} (${keys})` : label}
      aria-label={label}
      aria-keyshortcuts={keys}
      aria-pressed={pressed}
      tabIndex={reachable ? 0 : -1}
      onClick={act}
    >
      <Icon name={icon} size={16} />
    </button>
  );
}

function Statistics({ slot }: { slot: WallSlot }) {
  const model = useModel();
  const found = slot.statistics.value;
  const trip = model.media.roundTrip.value;
  const told = slot.state.told;
  const ms = (seconds: number | null): string =>
    seconds === null ? "–" : t("ms", { n: Math.round(seconds * 1000) });
  const rows: [string, string][] = [
    [t("stat_resolution"), found?.width ? `${found.width}×${found.height}` : "–"],
    [t("stat_fps"), found ? found.framesPerSecond.toFixed(0) : "–"],
    [t("stat_bitrate"), found ? rate(found.bitrate) : "–"],
    [t("stat_loss"), found ? `${(found.loss * 100).toFixed(1)} %` : "–"],
    [t("stat_delay"), slot.state.hasPicture ? ms(slot.state.delay) : "–"],
    [t("stat_buffer"), ms(found?.buffer ?? null)],
    [t("stat_round_trip"), ms(trip)],
    [t("stat_codec"), found?.codec || "–"],
    [
      t("stat_layer"),
      told?.state === "live" ? `${told.layer || "–"}${told.height ? ` · ${told.height}p` : ""}` : "–",
    ],
    [t("stat_dropped"), found ? String(found.dropped) : "–"],
  ];
  return (
    <dl class="statistics">
      {rows.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd class="num">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
