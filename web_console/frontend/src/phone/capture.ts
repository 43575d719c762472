/** Camera and microphone: opened together, each on its own when the other is refused, and opened again when taken away. */
import { signal } from "@preact/signals";

type Facing = "environment" | "user";

type CaptureProblem =
  | "insecure"
  | "in_app"
  | "unsupported"
  | "denied_both"
  | "denied_camera"
  | "denied_microphone"
  | "none_camera"
  | "none_microphone"
  | "busy"
  | "failed";

/** Why this page cannot capture at all; null = it may try. */
function impossible(): CaptureProblem | null {
  if ("mediaDevices" in navigator && "getUserMedia" in navigator.mediaDevices)
    return "RTCPeerConnection" in window ? null : "unsupported";
  if (!isSecureContext) return "insecure";
  return /MicroMessenger|QQ\/|Weibo|DingTalk|AlipayClient|FBAN|FBAV|; wv\)/.test(navigator.userAgent)
    ? "in_app"
    : "unsupported";
}

const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 25, max: 30 } };
const AUDIO: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

type Kind = "camera" | "microphone";

export class Capture {
  readonly video = signal<MediaStreamTrack | null>(null);
  readonly audio = signal<MediaStreamTrack | null>(null);
  readonly problem = signal<CaptureProblem | null>(impossible());
  readonly facing = signal<Facing>("environment");
  readonly busy = signal(false);

  /** `lost`: a track ended that we did not end. */
  constructor(private readonly lost: () => void) {}

  /** Open what is missing. True when there is something to send. */
  async open(): Promise<boolean> {
    const cannot = impossible();
    if (cannot) {
      this.problem.value = cannot;
      return false;
    }
    if (this.busy.peek()) return this.any;
    this.busy.value = true;
    try {
      await this.openMissing();
    } finally {
      this.busy.value = false;
    }
    return this.any;
  }

  /** The other camera. The one in use goes on when there is no other. */
  async flip(): Promise<void> {
    if (this.busy.peek()) return;
    const before = this.facing.peek();
    this.facing.value = before === "environment" ? "user" : "environment";
    if (!this.video.peek()) return;
    this.busy.value = true;
    try {
      this.release("camera"); // many phones open only one at a time
      if ((await this.get("camera")) !== null) {
        this.facing.value = before;
        this.problem.value = await this.get("camera");
      }
    } finally {
      this.busy.value = false;
    }
  }

  close(): void {
    this.release("camera");
    this.release("microphone");
  }

  get any(): boolean {
    return this.video.peek() !== null || this.audio.peek() !== null;
  }

  private async openMissing(): Promise<void> {
    if (!this.video.peek() && !this.audio.peek()) {
      const problem = await this.getBoth();
      if (problem === null) {
        this.problem.value = null;
        return;
      }
    }
    const camera = this.video.peek() ? null : await this.get("camera");
    const microphone = this.audio.peek() ? null : await this.get("microphone");
    this.problem.value =
      camera === "denied_camera" && microphone === "denied_microphone"
        ? "denied_both"
        : (camera ?? microphone);
  }

  private async getBoth(): Promise<CaptureProblem | null> {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: this.constraints(), audio: AUDIO });
      this.take(stream);
      return null;
    } catch {
      return "failed"; // each is tried on its own, which says whose fault it is
    }
  }

  private async get(kind: Kind): Promise<CaptureProblem | null> {
    try {
      const wanted = kind === "camera" ? { video: this.constraints() } : { audio: AUDIO };
      this.take(await navigator.mediaDevices.getUserMedia(wanted));
      return null;
    } catch (error) {
      return problemOf(error, kind);
    }
  }

  private constraints(): MediaTrackConstraints {
    return { ...VIDEO, facingMode: { ideal: this.facing.peek() } };
  }

  private take(stream: MediaStream): void {
    for (const track of stream.getTracks()) {
      const place = track.kind === "video" ? this.video : this.audio;
      place.peek()?.stop();
      if (track.kind === "video") track.contentHint = "motion";
      track.onended = () => {
        if (place.peek() !== track) return;
        place.value = null;
        this.lost();
      };
      place.value = track;
    }
  }

  private release(kind: Kind): void {
    const place = kind === "camera" ? this.video : this.audio;
    const track = place.peek();
    place.value = null;
    if (!track) return;
    track.onended = null;
    track.stop();
  }
}

function problemOf(error: unknown, kind: Kind): CaptureProblem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return `denied_${kind}`;
  if (name === "NotFoundError" || name === "OverconstrainedError") return `none_${kind}`;
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "failed";
}
