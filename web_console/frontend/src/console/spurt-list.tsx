/** Recorded transmissions as a list: who, where, how long; played on a press, with a bar to move in it. */
import { Icon } from "../icon.tsx";
import type { Spurt } from "../messages.ts";
import { errorWords } from "../strings/common.ts";
import { radio } from "../strings/radio.ts";
import { side } from "../strings/side.ts";
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
        <span class="dim">{spurt.groupNames.join(" · ")}</span>
      </span>
      <span class="spurt-when num">
        <span>{clockTime(spurt.started)}</span>
        <span class="dim">
          {state ? side(state) : side("seconds", { n: Math.max(1, Math.round(spurt.duration)) })}
        </span>
      </span>
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
