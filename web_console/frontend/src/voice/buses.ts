/**
 * What comes out of headset and loudspeaker: one audio context with two buses, selected and unselected groups, each with
 * volume, meter and device. Voice slots, recordings and tones go in; `levels.ts` says how loud.
 */
import { type BusName, levelOf } from "./levels.ts";
import { ToneBox, toneVolume } from "./tones.ts";

interface Bus {
  input: GainNode;
  analyser: AnalyserNode;
}

interface Wired {
  track: MediaStreamTrack;
  source: MediaStreamAudioSourceNode;
  gain: GainNode;
  analyser: AnalyserNode;
  pump: HTMLAudioElement;
  bus: BusName | null;
}

type Sinkable = { setSinkId?: (id: string) => Promise<void> };

/** The unselected bus on a device of its own: an audio context has only one. */
interface Loudspeaker {
  out: MediaStreamAudioDestinationNode;
  element: HTMLAudioElement & Sinkable;
}

const RAMP = 0.015; // s: a jump in volume would click

export class Buses {
  readonly context = new AudioContext({ latencyHint: "interactive" });
  readonly tones: ToneBox;

  private readonly buses: Record<BusName, Bus>;
  private readonly toneGain: GainNode;
  private readonly wired = new Map<number, Wired>();
  private readonly samples = new Float32Array(1024);
  private loudspeaker: Loudspeaker | null = null;

  constructor() {
    this.buses = { selected: this.bus(), unselected: this.bus() };
    for (const { analyser } of Object.values(this.buses)) analyser.connect(this.context.destination);
    this.toneGain = this.context.createGain();
    this.toneGain.connect(this.context.destination);
    this.tones = new ToneBox(this.context, this.toneGain);
  }

  /** Call this in a click or key: browsers keep pages silent until somebody touched them. True when sound is on. */
  async unlock(): Promise<boolean> {
    await Promise.race([this.context.resume(), new Promise((go) => setTimeout(go, 1000))]);
    for (const { pump } of this.wired.values()) void pump.play().catch(() => undefined);
    void this.loudspeaker?.element.play().catch(() => undefined);
    return this.context.state === "running";
  }

  setVolume(name: BusName, volume: number): void {
    glide(this.buses[name].input.gain, volume, this.context);
    if (name === "selected") glide(this.toneGain.gain, toneVolume(volume), this.context);
  }

  /** Where a slot's sound comes from; null takes it out. */
  wire(slot: number, track: MediaStreamTrack | null): void {
    const before = this.wired.get(slot);
    if (before?.track === track) return;
    if (before) this.unwire(slot, before);
    if (!track) return;
    const stream = new MediaStream([track]);
    // Chromium lets a remote track's samples flow only while an element plays it
    const pump = new Audio();
    pump.srcObject = stream;
    pump.muted = true;
    void pump.play().catch(() => undefined);
    const source = this.context.createMediaStreamSource(stream);
    const gain = this.context.createGain();
    const analyser = this.analyser();
    gain.gain.value = 0;
    source.connect(analyser);
    source.connect(gain);
    this.wired.set(slot, { track, source, gain, analyser, pump, bus: null });
  }

  route(slot: number, bus: BusName, volume: number): void {
    const one = this.wired.get(slot);
    if (!one) return;
    if (one.bus !== bus) {
      one.gain.disconnect();
      one.gain.connect(this.buses[bus].input);
      one.bus = bus;
    }
    glide(one.gain.gain, volume, this.context);
  }

  /** A recording's element plays on the selected bus. */
  connect(element: HTMLMediaElement): void {
    this.context.createMediaElementSource(element).connect(this.buses.selected.input);
  }

  /** 0 to 1. */
  level(of: BusName | number): number {
    const analyser = typeof of === "number" ? this.wired.get(of)?.analyser : this.buses[of].analyser;
    if (!analyser || this.context.state !== "running") return 0;
    analyser.getFloatTimeDomainData(this.samples);
    return levelOf(this.samples);
  }

  /** A node that measures any track, for a microphone's meter. Call the result to read it, `end` to take it off. */
  meter(track: MediaStreamTrack): { read: () => number; end: () => void } {
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    const analyser = this.analyser();
    source.connect(analyser);
    const samples = new Float32Array(1024);
    return {
      read: () => {
        analyser.getFloatTimeDomainData(samples);
        return levelOf(samples);
      },
      end: () => source.disconnect(),
    };
  }

  /**
   * Devices by id, "" = the system's. False where the browser cannot choose, or one is not there any more; then that bus
   * plays on the system's device: better there than silent.
   */
  async setDevices(selected: string, unselected: string): Promise<boolean> {
    const { analyser } = this.buses.unselected;
    const context = this.context as AudioContext & Sinkable;
    let done = true;
    let headset = "";
    try {
      if (context.setSinkId) {
        await context.setSinkId(selected);
        headset = selected;
      } else done = selected === "";
    } catch {
      done = false;
    }
    if (unselected === headset) {
      this.loudspeaker?.element.pause();
      analyser.disconnect();
      analyser.connect(this.context.destination);
      return done;
    }
    this.loudspeaker ??= this.makeLoudspeaker();
    const { out, element } = this.loudspeaker;
    try {
      await element.setSinkId?.(unselected);
      await element.play();
      analyser.disconnect();
      analyser.connect(out);
    } catch {
      analyser.disconnect();
      analyser.connect(this.context.destination);
      return false;
    }
    return done && (element.setSinkId !== undefined || unselected === "");
  }

  private makeLoudspeaker(): Loudspeaker {
    const out = this.context.createMediaStreamDestination();
    const element: HTMLAudioElement & Sinkable = new Audio();
    element.srcObject = out.stream;
    return { out, element };
  }

  private bus(): Bus {
    const input = this.context.createGain();
    const analyser = this.analyser();
    input.connect(analyser);
    return { input, analyser };
  }

  private analyser(): AnalyserNode {
    const analyser = this.context.createAnalyser();
    analyser.fftSize = 1024;
    return analyser;
  }

  private unwire(slot: number, one: Wired): void {
    one.source.disconnect();
    one.gain.disconnect();
    one.pump.srcObject = null;
    this.wired.delete(slot);
  }
}

function glide(parameter: AudioParam, value: number, context: BaseAudioContext): void {
  parameter.setTargetAtTime(value, context.currentTime, RAMP);
}
