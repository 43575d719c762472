/** What this phone sends, and whether it arrives. */
import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import { causeWords } from "../strings/causes.ts";
import { type PhoneKey, t } from "../strings/phone.ts";
import { duration } from "../times.ts";
import type { LiveState } from "./live.ts";
import type { PhoneModel } from "./model.ts";

export function Preview({ model, live, covered }: { model: PhoneModel; live: LiveState; covered: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  const track = model.publisher.capture.video.value;
  const sent = model.publisher.uplink.value;
  useSignalEffect(() => {
    const element = video.current;
    const shown = model.publisher.capture.video.value;
    if (!element) return;
    element.srcObject = shown ? new MediaStream([shown]) : null;
    if (shown) void element.play().catch(() => undefined);
  });
  return (
    <section
      class={`preview live-${live.kind}`}
      aria-label={t("preview")}
      data-live={live.kind}
      hidden={covered}
    >
      <video
        ref={video}
        class={model.publisher.capture.facing.value === "user" ? "mirrored" : ""}
        hidden={!track}
        muted
        playsInline
      />
      {!track && (
        <p class="preview-none">
          <Icon name={model.publisher.capture.audio.value ? "mic" : "video"} size={40} />
          {model.publisher.capture.audio.value ? t("preview_audio") : t("preview_none")}
        </p>
      )}
      <LiveBar live={live} />
      {live.kind !== "off" && (track || model.publisher.capture.audio.value) && (
        <CameraControls model={model} />
      )}
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
            {live.kind === "starting" && live.cause === "no_capture" ? t("why_opening") : why(live.cause)}
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

/** On the picture, where they belong, and only while there is one. */
function CameraControls({ model }: { model: PhoneModel }) {
  const { publisher } = model;
  const facing = publisher.capture.facing.value;
  const problem = publisher.capture.problem.value;
  const mute = problem === "denied_both" || problem === "denied_microphone" || problem === "none_microphone";
  const microphone = publisher.microphone.value && !mute;
  return (
    <div class="camera-controls">
      <button
        type="button"
        data-control="camera"
        aria-label={`${t("camera_flip")}: ${facing === "user" ? t("camera_front") : t("camera_back")}`}
        disabled={publisher.capture.busy.value}
        onClick={() => void publisher.capture.flip()}
      >
        <Icon name="switch-camera" size={24} />
        {facing === "user" ? t("camera_front") : t("camera_back")}
      </button>
      <button
        type="button"
        data-control="microphone"
        aria-pressed={microphone}
        onClick={() => (mute ? void publisher.capture.open() : publisher.toggleMicrophone())}
      >
        <Icon name={microphone ? "mic" : "mic-off"} size={24} />
        {mute ? t("mic_none") : microphone ? t("mic_on") : t("mic_off")}
      </button>
    </div>
  );
}
