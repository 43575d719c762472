/** The phone page: preview, what is true, and four large controls. */
import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { beat, now, serverTime } from "../clock.ts";
import { copy } from "../copy.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { language, setLanguage } from "../language.ts";
import { causeWords } from "../strings/causes.ts";
import { t as common, errorWords } from "../strings/common.ts";
import { type PhoneKey, t, two } from "../strings/phone.ts";
import { duration, rate } from "../times.ts";
import type { LiveState } from "./live.ts";
import type { PhoneModel } from "./model.ts";

export function Phone({ model }: { model: PhoneModel }) {
  const ended = model.link.status.value.ended;
  const name = model.name.value;
  return (
    <div class="phone-page">
      <header>
        <img src="/static/favicon.svg" width="28" height="28" alt="" />
        <div>
          <strong>{(model.server.value ?? model.initial.server).name}</strong>
          <span class="dim">{name || t("title")}</span>
        </div>
        <button
          type="button"
          class="quiet"
          lang={language.value === "en" ? "zh-CN" : "en"}
          onClick={() => void setLanguage(language.value === "en" ? "zh-CN" : "en")}
        >
          {common("other_language")}
        </button>
      </header>
      {model.nobody ? <Closed of="nobody" /> : ended ? <Closed of={endOf(ended)} /> : <Open model={model} />}
    </div>
  );
}

type End = "nobody" | "ended_expired" | "ended_revoked" | "ended_not_logged_in" | "ended_schema";

function endOf(reason: string): End {
  const known: Record<string, End> = {
    expired: "ended_expired",
    revoked: "ended_revoked",
    schema: "ended_schema",
  };
  return known[reason] ?? "ended_not_logged_in";
}

function Closed({ of }: { of: End }) {
  const [what, next] = two(of);
  return (
    <main class="closed" data-end={of}>
      <Icon name="lock" size={40} />
      <h1>{what}</h1>
      <p>{next}</p>
      {of === "ended_schema" ? (
        <button type="button" class="primary" onClick={() => location.reload()}>
          {t("reload")}
        </button>
      ) : (
        (of === "nobody" || of === "ended_not_logged_in") && (
          <a class="button" href="/login?next=%2Fm">
            {t("log_in")}
          </a>
        )
      )}
    </main>
  );
}

function Open({ model }: { model: PhoneModel }) {
  const live = model.live.value;
  return (
    <main>
      <h1 class="only-read">{t("title")}</h1>
      <Preview model={model} live={live} />
      <Chips model={model} />
      <Problems model={model} />
      <Controls model={model} live={live} />
    </main>
  );
}

function Preview({ model, live }: { model: PhoneModel; live: LiveState }) {
  const video = useRef<HTMLVideoElement>(null);
  const track = model.capture.video.value;
  const sent = model.uplink.value;
  useSignalEffect(() => {
    const element = video.current;
    const shown = model.capture.video.value;
    if (!element) return;
    element.srcObject = shown ? new MediaStream([shown]) : null;
    if (shown) void element.play().catch(() => undefined);
  });
  return (
    <section class={`preview live-${live.kind}`} aria-label={t("preview")} data-live={live.kind}>
      <video
        ref={video}
        class={model.capture.facing.value === "user" ? "mirrored" : ""}
        hidden={!track}
        muted
        playsInline
      />
      {!track && (
        <p class="preview-none">
          <Icon name={model.capture.audio.value ? "mic" : "video"} size={40} />
          {model.capture.audio.value ? t("preview_audio") : t("preview_none")}
        </p>
      )}
      <LiveBar live={live} />
      {sent && sent.height > 0 && (
        <p class="sent num">
          {sent.width}×{sent.height} · {Math.round(sent.framesPerSecond)} fps
        </p>
      )}
    </section>
  );
}

function LiveBar({ live }: { live: LiveState }) {
  beat.value; // minutes are counted
  switch (live.kind) {
    case "off":
      return null;
    case "live":
      return (
        <p class="live-bar" role="status">
          <Icon name="radio" size={20} />
          <strong class="num">{t("you_are_live", { time: duration(serverTime() - live.since) })}</strong>
          <span class="num">
            <Icon name="eye" size={18} />{" "}
            {live.viewers > 0 ? t("viewers", { n: live.viewers }) : t("nobody_watches")}
          </span>
        </p>
      );
    default:
      return (
        <p class="live-bar" role="status">
          <Icon name={live.kind === "starting" ? "loader-circle" : "unplug"} size={20} />
          <strong>{live.kind === "starting" ? t("starting") : t("interrupted")}</strong>
          <span>
            {why(live.cause)}
            {live.kind === "interrupted" && ` · ${t("restoring")}`}
          </span>
        </p>
      );
  }
}

function why(cause: string): string {
  const own: Record<string, PhoneKey> = {
    no_server: "why_no_server",
    no_capture: "why_no_capture",
    no_media: "why_no_media",
    "": "why_waiting",
    never_connected: "why_waiting",
    stalled: "why_stalled",
  };
  const key = own[cause];
  return key ? t(key) : causeWords(cause).sentence;
}

interface ChipWords {
  text: string;
  tone: "good" | "weak" | "bad" | "none";
}

function linkWords(model: PhoneModel): ChipWords {
  const status = model.link.status.value;
  if (status.phase === "ready") {
    const weak = model.wanted.value && model.uplink.value?.limited === "bandwidth";
    return weak ? { text: t("link_weak"), tone: "weak" } : { text: t("link_good"), tone: "good" };
  }
  if (!status.everReady) return { text: t("link_connecting"), tone: "none" };
  return { text: t("link_lost", { n: Math.max(0, Math.floor(now() - status.heard)) }), tone: "bad" };
}

function gpsWords(model: PhoneModel): ChipWords {
  const fix = model.fix.value;
  if (!model.positionOn.value) return { text: t("gps_off"), tone: "none" };
  if (model.positionProblem.value === "denied") return { text: t("gps_denied"), tone: "bad" };
  if (model.positionProblem.value) return { text: t("gps_none"), tone: "weak" };
  if (!fix) return { text: t("gps_wait"), tone: "none" };
  const accuracy = Math.round(fix.accuracy ?? 0);
  return { text: t("accuracy", { n: accuracy }), tone: accuracy <= 50 ? "good" : "weak" };
}

function Chips({ model }: { model: PhoneModel }) {
  beat.value; // seconds are counted
  const uplink = model.uplink.value;
  const battery = model.battery.value;
  const queue = model.queue.value.length;
  const link = linkWords(model);
  const gps = gpsWords(model);
  return (
    <ul class="chips" aria-label={t("status")}>
      <Chip id="link" icon="signal" name={t("chip_link")} {...link} />
      <Chip
        id="uplink"
        icon="arrow-up-from-line"
        name={t("chip_uplink")}
        text={uplink ? rate(uplink.rate) : "–"}
        tone={uplink && uplink.rate > 0 ? "good" : "none"}
      />
      <Chip
        id="battery"
        icon={battery?.charging ? "battery-charging" : "battery-medium"}
        name={t("chip_battery")}
        text={
          battery
            ? `${battery.percent} %${battery.charging ? ` ${t("charging")}` : ""}`
            : t("battery_unknown")
        }
        tone={battery && battery.percent <= 15 && !battery.charging ? "bad" : "none"}
      />
      <Chip id="gps" icon="map-pin" name={t("chip_gps")} {...gps} />
      <Chip
        id="queue"
        icon="send"
        name={t("chip_queue")}
        text={queue ? t("queue_n", { n: queue }) : t("queue_none")}
        tone={queue > 5 ? "weak" : "none"}
      />
      <Chip
        id="screen"
        icon="sun"
        name={t("chip_screen")}
        text={model.wakeLock.value ? t("screen_kept") : t("screen_free")}
        tone={model.wanted.value && !model.wakeLock.value ? "weak" : "none"}
      />
    </ul>
  );
}

function Chip({ id, icon, name, text, tone }: { id: string; icon: IconName; name: string } & ChipWords) {
  return (
    <li class={`status-${tone}`} data-chip={id}>
      <Icon name={icon} size={18} />
      <span class="dim">{name}</span>
      <strong class="num">{text}</strong>
    </li>
  );
}

function Problems({ model }: { model: PhoneModel }) {
  const [copied, setCopied] = useState(false);
  const capture = model.capture.problem.value;
  const refused = model.peer.problem.value;
  const elsewhere = capture === "insecure" || capture === "in_app" || capture === "unsupported";
  const [what, next] = capture ? two(capture) : ["", ""];
  const words = refused && errorWords(refused.code);
  return (
    <div class="problems" aria-live="polite">
      {capture && (
        <div class="notice notice-error" data-problem={capture}>
          <Icon name="circle-alert" size={22} />
          <div>
            <strong>{what}</strong>
            <p>{next}</p>
            {elsewhere && (
              <>
                <code class="link-text">{model.address}</code>
                <button type="button" onClick={async () => setCopied(await copy(model.address))}>
                  <Icon name={copied ? "check" : "copy"} /> {copied ? t("copied") : t("copy_link")}
                </button>
              </>
            )}
          </div>
        </div>
      )}
      {refused && words && (
        <div class="notice notice-error" data-problem={refused.code}>
          <Icon name="circle-alert" size={22} />
          <div>
            {refused.code === "ended_by_officer" || refused.code === "replaced" ? (
              <strong>{t(refused.code)}</strong>
            ) : (
              <>
                <strong>{common("what_failed", { what: t("problem_live") })}</strong> · {words.reason}
                <p>{words.next}</p>
              </>
            )}
          </div>
        </div>
      )}
    </div>
  );
}

const SURE_MS = 4000;

function Controls({ model, live }: { model: PhoneModel; live: LiveState }) {
  const [sure, setSure] = useState(false);
  const on = live.kind !== "off";
  useEffect(() => {
    if (!sure) return;
    const timer = setTimeout(() => setSure(false), SURE_MS);
    return () => clearTimeout(timer);
  }, [sure]);
  const press = (): void => {
    if (!on) void model.goLive();
    else if (live.kind !== "live" || sure) {
      setSure(false);
      model.stop();
    } else setSure(true);
  };
  const facing = model.capture.facing.value;
  const problem = model.capture.problem.value;
  const mute = problem === "denied_both" || problem === "denied_microphone" || problem === "none_microphone";
  const microphone = model.microphone.value && !mute;
  const position = model.positionOn.value;
  return (
    <div class="controls">
      <button
        type="button"
        class={`control-live ${on ? "on" : ""}`}
        aria-pressed={on}
        data-control="live"
        disabled={model.capture.busy.value && !on}
        onClick={press}
      >
        <Icon name={on ? "square" : "video"} size={30} />
        {on ? (sure ? t("stop_sure") : t("stop_live")) : t("go_live")}
      </button>
      <button
        type="button"
        data-control="camera"
        aria-label={`${t("camera_flip")}: ${facing === "user" ? t("camera_front") : t("camera_back")}`}
        disabled={model.capture.busy.value}
        onClick={() => void model.capture.flip()}
      >
        <Icon name="switch-camera" size={26} />
        {facing === "user" ? t("camera_front") : t("camera_back")}
      </button>
      <button
        type="button"
        data-control="microphone"
        aria-pressed={microphone}
        onClick={() => (mute && on ? void model.capture.open() : model.toggleMicrophone())}
      >
        <Icon name={microphone ? "mic" : "mic-off"} size={26} />
        {mute ? t("mic_none") : microphone ? t("mic_on") : t("mic_off")}
      </button>
      <button
        type="button"
        data-control="position"
        aria-pressed={position}
        onClick={() => model.togglePosition()}
      >
        <Icon name={position ? "map-pin" : "map-pin-off"} size={26} />
        {position ? t("position_on") : t("position_off")}
      </button>
    </div>
  );
}
