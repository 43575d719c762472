/** Recorded transmissions as a list: who, where, how long; played on a press, with a bar to move in it. */
import { Icon } from "../icon.tsx";
import type { Spurt } from "../messages.ts";
import { errorWords } from "../strings/common.ts";
import { radio } from "../strings/radio.ts";
import { type SideKey, side } from "../strings/side.ts";
import { clockTime } from "../times.ts";
import { useModel } from "./context.ts";
import { canPlay } from "./recall.ts";

export function RecentSpurtList() {
  const { desk } = useModel();
  const { spurts, problem, trueAt } = desk.recent;
  return (
    <section class="recent" aria-label={side("recent")}>
      <header class="panel-head">
        <h2>{side("recent")}</h2>
        <span class="dim num">{trueAt.value > 0 && radio("true_at", { time: clockTime(trueAt.value) })}</span>
      </header>
      {problem.value && (
        <p class="panel-none tone-late">
          {side("recent_failed", { reason: errorWords(problem.value.code).reason })}{" "}
          <button type="button" class="quiet" onClick={() => void desk.recent.read()}>
            {radio("again")}
          </button>
        </p>
      )}
      {!problem.value && spurts.value.length === 0 && <p class="dim panel-none">{side("recent_none")}</p>}
      <SpurtRows spurts={spurts.value} />
    </section>
  );
}

/** The groups it was said in, or to whom. */
export function whereSaid({ peer, groupNames }: Spurt): string {
  return peer ? side("call_with", { name: peer.name }) : groupNames.join(" · ");
}

const FLAWS: Record<string, SideKey> = {
  disk_full: "flaw_disk_full",
  disk_slow: "flaw_disk_slow",
  media_restarted: "flaw_media",
  server_stopped: "flaw_server",
  stopped: "flaw_server",
  orphan: "flaw_server",
  no_packets: "flaw_silent",
  no_file: "flaw_no_file",
};

/** Why a recording is not whole; what has no words is told as it is. */
function whyCut(detail: string): string {
  const key = FLAWS[detail];
  return key ? side(key) : detail;
}

export function SpurtRows({ spurts }: { spurts: readonly Spurt[] }) {
  return (
    <ul class="spurts">
      {spurts.map((spurt) => (
        <SpurtRow key={spurt.id} spurt={spurt} />
      ))}
    </ul>
  );
}

const STATES: Record<string, "spurt_recording" | "spurt_cut" | "spurt_lost" | "spurt_erased"> = {
  recording: "spurt_recording",
  cut: "spurt_cut",
  lost: "spurt_lost",
  erased: "spurt_erased",
};

function SpurtRow({ spurt }: { spurt: Spurt }) {
  const { player } = useModel().desk;
  const playing = player.playing.value?.spurt.id === spurt.id ? player.playing.value : null;
  const state = STATES[spurt.state];
  const name = spurt.talker.name;
  return (
    <li class={`spurt ${playing ? "spurt-playing" : ""}`} data-spurt={spurt.id}>
      <button
        type="button"
        class="quiet icon-button"
        disabled={!canPlay(spurt)}
        aria-label={playing && !playing.paused ? radio("pause") : radio("play", { name })}
        onClick={() => (playing && !playing.failed ? player.toggle() : player.play(spurt))}
      >
        <Icon name={playing && !playing.paused ? "pause" : "play"} />
      </button>
      <span class="spurt-who">
        <span>
          {spurt.urgency === "emergency" && <Icon name="siren" size={14} />} {name}
        </span>
        <span class="dim">{whereSaid(spurt)}</span>
      </span>
      <span class="spurt-when num">
        <span>{clockTime(spurt.started)}</span>
        <span class="dim">
          {state ? side(state) : side("seconds", { n: Math.max(1, Math.round(spurt.duration)) })}
        </span>
      </span>
      <EvidenceMark spurt={spurt} />
      {(spurt.state === "cut" || spurt.state === "lost") && spurt.detail && (
        <p class="spurt-flaw">
          {side(spurt.state === "cut" ? "spurt_cut_why" : "spurt_lost_why", { why: whyCut(spurt.detail) })}
        </p>
      )}
      {spurt.after && (
        <p class="spurt-flaw">
          {spurt.gap < 1 ? side("spurt_goes_on") : side("spurt_gap", { n: Math.round(spurt.gap) })}
        </p>
      )}
      {playing?.failed && <p class="tone-late">{radio("play_failed")}</p>}
      {playing && !playing.failed && (
        <input
          type="range"
          class="seek"
          min="0"
          max={Math.max(0.1, playing.duration)}
          step="0.1"
          value={playing.position}
          aria-label={side("seek")}
          onInput={(event) => player.seek(Number(event.currentTarget.value))}
        />
      )}
    </li>
  );
}

/** Whether it is kept as evidence; pressed, the box in which that is decided. */
function EvidenceMark({ spurt }: { spurt: Spurt }) {
  const model = useModel();
  if (!spurt.hold && !(model.may("recording.hold") && canPlay(spurt))) return <span />;
  const words = spurt.hold
    ? side("evidence_held", { name: spurt.heldBy, why: spurt.heldWhy })
    : side("evidence_hold", { name: spurt.talker.name });
  return (
    <button
      type="button"
      class={`quiet icon-button evidence ${spurt.hold ? "evidence-held" : ""}`}
      title={words}
      aria-label={words}
      onClick={() => {
        model.desk.box.value = { kind: "hold", spurt };
      }}
    >
      <Icon name={spurt.hold ? "lock" : "lock-open"} size={14} />
    </button>
  );
}
