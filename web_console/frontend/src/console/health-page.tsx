/** How every part of the server is, and for each stream how far it came and why no further. */
import "../styles/health.css";
import { beat, serverTime } from "../clock.ts";
import { copy } from "../copy.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import type { HealthRow, Stream } from "../messages.ts";
import { rowsOf } from "../store.ts";
import { causeWords } from "../strings/causes.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { healthWords } from "../strings/health.ts";
import { clockTime, dateTime, duration, rate } from "../times.ts";
import { useModel } from "./context.ts";
import { stateWords } from "./list.tsx";

const STEPS: Record<string, ConsoleKey> = {
  registered: "step_registered",
  signalled: "step_signalled",
  ice: "step_ice",
  dtls: "step_dtls",
  packets: "step_packets",
  key_frame: "step_key_frame",
  shown: "step_shown",
};

interface Level {
  key: ConsoleKey;
  icon: IconName;
  tone: string;
}

const UNKNOWN: Level = { key: "health_warning", icon: "triangle-alert", tone: "late" };
const LEVELS: Record<string, Level> = {
  ok: { key: "health_ok", icon: "circle-check", tone: "live" },
  warning: UNKNOWN,
  error: { key: "health_error", icon: "octagon-x", tone: "fault" },
  off: { key: "health_off", icon: "circle-minus", tone: "stale" },
};

const VIAS: Record<string, ConsoleKey> = { whip: "via_whip", phone: "via_phone", rtsp: "via_rtsp" };

export function HealthPage() {
  const model = useModel();
  beat.value; // ages are counted
  const world = model.world.value;
  const health = [...world.health.values()];
  // those without a picture first: they are what one comes here for
  const streams = rowsOf(world, "")
    .flatMap((row) => row.streams)
    .sort((a, b) => Number(a.state === "live") - Number(b.state === "live"));
  return (
    <div class="page health">
      <header>
        <h1>{t("health_title")}</h1>
        <span class="dim num">{t("list_true_at", { time: clockTime(model.trueAt.value) })}</span>
        <span class="spring" />
        <button
          type="button"
          onClick={async () =>
            model.say((await copy(diagnostics(model, health, streams))) ? "copied" : "copy_failed")
          }
        >
          <Icon name="copy" /> {t("copy_all")}
        </button>
      </header>
      <h2>{t("health_server")}</h2>
      {health.length === 0 ? <p class="dim">{t("health_none")}</p> : <Parts rows={health} />}
      <h2>{t("health_streams")}</h2>
      {streams.length === 0 && <p class="dim">{t("health_none")}</p>}
      <ul class="ladders">
        {streams.map((stream) => (
          <Ladder key={stream.id} stream={stream} />
        ))}
      </ul>
    </div>
  );
}

function Parts({ rows }: { rows: HealthRow[] }) {
  return (
    <table>
      <thead>
        <tr>
          <th>{t("col_part")}</th>
          <th>{t("col_state")}</th>
          <th>{t("col_detail")}</th>
          <th>{t("col_remedy")}</th>
          <th>{t("col_since")}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => {
          const level = LEVELS[row.state] ?? UNKNOWN;
          const words = healthWords(row.id, row.state, row.value, row.unit) ?? {
            name: row.name,
            detail: [row.detail, row.value ?? "", row.unit].join(" ").trim(),
            remedy: row.remedy,
          };
          return (
            <tr key={row.id} data-health={row.id} data-state={row.state}>
              <th scope="row">{words.name}</th>
              <td class={`tone-${level.tone}`}>
                <span class="with-icon">
                  <Icon name={level.icon} /> {t(level.key)}
                </span>
              </td>
              <td class="num">{words.detail}</td>
              <td>{words.remedy}</td>
              <td class="num dim">{row.at ? clockTime(row.at) : ""}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function Ladder({ stream }: { stream: Stream }) {
  const model = useModel();
  const words = stateWords(stream);
  const open = stream.steps.findIndex((step) => step.at === null);
  const stuck = stream.state === "live" ? -1 : open;
  const via = VIAS[stream.via];
  const layers = stream.layers.filter((layer) => layer.live);
  return (
    <li class="ladder" data-stream={stream.id} data-state={stream.state}>
      <header>
        <h3>{model.nameOf(stream.id)}</h3>
        <span class={`with-icon tone-${words.tone}`}>
          <Icon name={words.icon} />
          {t("state_for", { state: words.text, time: duration(serverTime() - stream.since) })}
        </span>
        <span class="dim">
          {[
            via ? t(via) : stream.via,
            stream.tcp ? t("over_tcp") : "",
            stream.remote,
            stream.audio
              ? t("with_audio", { codec: stream.audio })
              : stream.state === "live"
                ? t("without_audio")
                : "",
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
        <span class="spring" />
        <button
          type="button"
          class="quiet"
          onClick={async () =>
            model.say((await copy(diagnostics(model, [], [stream]))) ? "copied" : "copy_failed")
          }
        >
          <Icon name="copy" /> {t("copy_diagnostics")}
        </button>
      </header>
      <ol class="steps" aria-label={t("ladder")}>
        {stream.steps.map((step, i) => {
          const key = STEPS[step.name];
          const name = key ? t(key) : step.name;
          const reached = step.at !== null;
          return (
            <li
              key={step.name}
              class={reached ? "reached" : i === stuck ? "stuck" : ""}
              data-step={step.name}
              data-reached={reached}
              title={
                step.at !== null
                  ? t("step_reached", { step: name, time: dateTime(step.at) })
                  : t("step_open", { step: name })
              }
            >
              <Icon name={reached ? "circle-check" : i === stuck ? "circle-alert" : "circle-dashed"} />
              <span>{name}</span>
              <span class="dim num">
                {step.at !== null ? clockTime(step.at) : i === stuck ? t("step_stuck") : ""}
              </span>
            </li>
          );
        })}
      </ol>
      <p>
        <Sentence stream={stream} />
      </p>
      {layers.length > 0 && (
        <p class="dim num">
          {layers
            .map((layer) =>
              [
                layer.rid,
                layer.codec,
                layer.width ? `${layer.width}×${layer.height}` : "",
                `${layer.framesPerSecond.toFixed(0)} fps`,
                rate(layer.bitrate),
                `${t("stat_loss")} ${(layer.loss * 100).toFixed(1)} %`,
              ]
                .filter(Boolean)
                .join(" "),
            )
            .join("  |  ")}
        </p>
      )}
    </li>
  );
}

function Sentence({ stream }: { stream: Stream }) {
  const model = useModel();
  if (stream.cause) {
    const { sentence, next } = causeWords(model.causeOf(stream));
    return (
      <>
        {sentence} {next && <span class="dim">{next}</span>}
        {stream.detail && <code class="dim">{stream.detail}</code>}
      </>
    );
  }
  if (stream.state !== "live") return null;
  return <>{stream.viewers > 0 ? t("picture_ok", { n: stream.viewers }) : t("picture_unwatched")}</>;
}

/** What somebody who helps from afar wants to know, as text. */
function diagnostics(
  model: ReturnType<typeof useModel>,
  health: readonly HealthRow[],
  streams: readonly Stream[],
): string {
  const status = model.link.status.peek();
  return JSON.stringify(
    {
      time: dateTime(serverTime()),
      server: model.server.peek(),
      browser: navigator.userAgent,
      link: { phase: status.phase, unanswered: status.unanswered },
      media: {
        phase: model.media.peer.phase.peek(),
        problem: model.media.peer.problem.peek(),
        roundTrip: model.media.roundTrip.peek(),
      },
      health,
      streams: streams.map((stream) => ({ name: model.nameOf(stream.id), stream })),
    },
    null,
    1,
  );
}
