/** The microphone: asked for once, kept open and warm, opened again when it was taken away or another one is chosen. */
import { signal } from "@preact/signals";

export type MicrophoneProblem = "insecure" | "unsupported" | "denied" | "none" | "busy" | "failed";

export interface Processing {
  echoCancellation: boolean;
  noiseSuppression: boolean;
  autoGainControl: boolean;
}

export const PROCESSING: Processing = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

export class Microphone {
  readonly track = signal<MediaStreamTrack | null>(null);
  readonly problem = signal<MicrophoneProblem | null>(null);
  readonly opening = signal(false);
  /** A device's id, "" = the browser's choice. */
  device = "";
  processing = PROCESSING;
  private again = false;

  /** `changed`: what was sent so far comes from another device now, or from none. */
  constructor(private readonly changed: () => void) {}

  /** True when there is one. */
  async open(): Promise<boolean> {
    if (this.track.peek()?.readyState === "live") return true;
    if (this.opening.peek()) {
      this.again = true;
      return false;
    }
    this.opening.value = true;
    try {
      do {
        this.again = false;
        await this.get();
      } while (this.again && !this.track.peek());
    } finally {
      this.opening.value = false;
    }
    return this.track.peek() !== null;
  }

  /** Another device, or another treatment of what it hears. */
  async choose(device: string, processing: Processing): Promise<boolean> {
    this.device = device;
    this.processing = processing;
    this.close();
    return this.open();
  }

  close(): void {
    const track = this.track.peek();
    this.track.value = null;
    if (!track) return;
    track.onended = null;
    track.stop();
    this.changed();
  }

  private async get(): Promise<void> {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.problem.value = isSecureContext ? "unsupported" : "insecure";
      return;
    }
    try {
      const track = await this.ask(this.device);
      track.onended = () => {
        if (this.track.peek() !== track) return;
        this.track.value = null;
        this.problem.value = "none";
        this.changed();
        void this.open();
      };
      this.track.value = track;
      this.problem.value = null;
    } catch (error) {
      this.problem.value = problemOf(error);
    }
  }

  /** The chosen device; when it is not there any more, whichever there is. */
  private async ask(device: string): Promise<MediaStreamTrack> {
    const audio: MediaTrackConstraints = { ...this.processing, channelCount: { ideal: 1 } };
    if (device) audio.deviceId = { exact: device };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      const [track] = stream.getAudioTracks();
      if (!track) throw new DOMException("", "NotFoundError");
      return track;
    } catch (error) {
      if (device && problemOf(error) === "none") return this.ask("");
      throw error;
    }
  }
}

function problemOf(error: unknown): MicrophoneProblem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "denied";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "none";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "failed";
}
