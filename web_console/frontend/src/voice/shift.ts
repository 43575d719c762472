/** Being on duty with ears and mouth: sound unlocked by a touch, microphone open, screen kept awake, devices chosen. */
import { effect, signal } from "@preact/signals";
import { load, save } from "../storage.ts";
import { Buses } from "./buses.ts";
import { Microphone, PROCESSING, type Processing } from "./microphone.ts";

const DEVICES = "voice-devices";
const ON_SHIFT = "fengsui.shift"; // in this tab's session: a reloaded page goes on

export interface DeviceChoice {
  microphone: string;
  headset: string;
  loudspeaker: string;
  processing: Processing;
}

interface DeviceList {
  inputs: MediaDeviceInfo[];
  outputs: MediaDeviceInfo[];
}

const CHOICE: DeviceChoice = { microphone: "", headset: "", loudspeaker: "", processing: PROCESSING };

export class Shift {
  /** `blocked`: on duty, but the browser keeps the page silent until it is touched. */
  readonly state = signal<"off" | "on" | "blocked">("off");
  readonly starting = signal(false);
  readonly microphone: Microphone;
  readonly choice = signal<DeviceChoice>({ ...CHOICE, ...load<Partial<DeviceChoice>>(DEVICES, {}) });
  readonly devices = signal<DeviceList>({ inputs: [], outputs: [] });
  /** False when a chosen output is not there, or this browser cannot choose outputs. */
  readonly outputsFound = signal(true);
  readonly wakeLock = signal(false);
  buses: Buses | null = null;

  private lock: WakeLockSentinel | null = null;

  /** `changed`: the microphone is another one now, or gone. `awake`: the screen stays on for the whole shift. */
  constructor(
    changed: () => void,
    private readonly awake: boolean,
  ) {
    this.microphone = new Microphone(changed);
    this.microphone.device = this.choice.peek().microphone;
    this.microphone.processing = this.choice.peek().processing;
  }

  /** The page was loaded anew during a shift. */
  get wasOn(): boolean {
    return sessionStorage.getItem(ON_SHIFT) === "1";
  }

  /** In a click or key. True when sound is on; a microphone that is refused is told by `microphone.problem`. */
  async start(test: boolean): Promise<boolean> {
    if (this.starting.peek()) return false;
    this.starting.value = true;
    sessionStorage.setItem(ON_SHIFT, "1");
    try {
      const buses = this.buses ?? this.makeBuses();
      const sound = await buses.unlock();
      this.state.value = sound ? "on" : "blocked";
      if (sound && test) buses.tones.sound("test");
      await this.microphone.open();
      await this.applyOutputs();
      await this.listDevices();
      void this.keepAwake();
      return sound;
    } finally {
      this.starting.value = false;
    }
  }

  end(): void {
    sessionStorage.removeItem(ON_SHIFT);
    this.state.value = "off";
    this.microphone.close();
    void this.lock?.release().catch(() => undefined);
    void this.buses?.context.suspend();
  }

  async choose(choice: DeviceChoice): Promise<void> {
    const before = this.choice.peek();
    this.choice.value = choice;
    save(DEVICES, choice);
    const other =
      before.microphone !== choice.microphone ||
      JSON.stringify(before.processing) !== JSON.stringify(choice.processing);
    if (other && this.state.peek() !== "off") {
      await this.microphone.choose(choice.microphone, choice.processing);
    }
    await this.applyOutputs();
  }

  private makeBuses(): Buses {
    const buses = new Buses();
    this.buses = buses;
    buses.context.onstatechange = () => {
      if (this.state.peek() !== "off")
        this.state.value = buses.context.state === "running" ? "on" : "blocked";
    };
    navigator.mediaDevices?.addEventListener("devicechange", () => {
      void this.listDevices();
      void this.applyOutputs();
      if (this.state.peek() !== "off") void this.microphone.open();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || this.state.peek() === "off") return;
      // a locked phone takes microphone and sound away, and gives them back only when asked
      void buses.unlock();
      void this.microphone.open();
      void this.keepAwake();
    });
    // a page that is touched at all may make sound again
    const touched = (): void => {
      if (this.state.peek() === "blocked") void buses.unlock();
    };
    addEventListener("pointerdown", touched);
    addEventListener("keydown", touched);
    effect(() => {
      if (this.microphone.track.value) void this.listDevices(); // names are told once there is a permission
    });
    return buses;
  }

  private async applyOutputs(): Promise<void> {
    const { headset, loudspeaker } = this.choice.peek();
    if (!this.buses) return;
    this.outputsFound.value = await this.buses.setDevices(headset, loudspeaker);
  }

  private async listDevices(): Promise<void> {
    const all = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    this.devices.value = {
      inputs: all.filter((one) => one.kind === "audioinput"),
      outputs: all.filter((one) => one.kind === "audiooutput"),
    };
  }

  private async keepAwake(): Promise<void> {
    if (!this.awake || !("wakeLock" in navigator) || this.wakeLock.peek()) return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      this.lock = lock;
      this.wakeLock.value = true;
      lock.addEventListener("release", () => {
        this.wakeLock.value = false;
      });
    } catch {
      this.wakeLock.value = false; // asked for again when the page is looked at
    }
  }
}
