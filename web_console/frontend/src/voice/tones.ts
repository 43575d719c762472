/** The tones, each known without looking: made of oscillators, so that nothing has to be loaded when it matters. */

/** One sound of a tone. Times in s, frequencies in Hz; with `to` it glides. */
interface Note {
  at: number;
  hz: number;
  to?: number;
  lasts: number;
  gain: number;
}

/** `every`: a tone that goes on until it is stopped comes again after so many s. */
interface Tone {
  notes: readonly Note[];
  every?: number;
}

export type ToneName =
  | "granted"
  | "free"
  | "busy"
  | "queued"
  | "lost"
  | "back"
  | "alarm"
  | "callback"
  | "ring"
  | "test";

const run = (gain: number, lasts: number, gap: number, ...hz: number[]): Note[] =>
  hz.map((one, i) => ({ at: i * (lasts + gap), hz: one, lasts, gain }));

export const TONES: Readonly<Record<ToneName, Tone>> = {
  granted: { notes: run(0.3, 0.06, 0.02, 880, 1320) },
  free: { notes: run(0.2, 0.08, 0, 660) },
  busy: { notes: run(0.35, 0.6, 0, 280) },
  queued: { notes: run(0.3, 0.09, 0.06, 392, 392) },
  lost: { notes: run(0.35, 0.14, 0.03, 784, 587, 392) },
  back: { notes: run(0.3, 0.14, 0.03, 392, 587, 784) },
  alarm: { notes: run(0.5, 0.35, 0.02, 960, 720, 960, 720), every: 1.6 },
  callback: {
    notes: [
      { at: 0, hz: 520, to: 620, lasts: 0.18, gain: 0.18 },
      { at: 0.26, hz: 520, to: 620, lasts: 0.18, gain: 0.18 },
    ],
  },
  ring: { notes: [...run(0.3, 0.2, 0.02, 440, 494, 440, 494)], every: 3 },
  test: { notes: run(0.3, 0.15, 0.02, 523, 659, 784) },
};

/** However far a volume is turned down, tones stay to be heard. */
export const VOLUME_FLOOR = 0.3;

export function toneVolume(volume: number): number {
  return Math.max(VOLUME_FLOOR, Math.min(1, volume));
}

export function length(tone: Tone): number {
  return Math.max(...tone.notes.map((note) => note.at + note.lasts));
}

const SOFT = 0.008; // s of rise and fall, so that nothing clicks

/** Sounds tones into a node of an audio graph. */
export class ToneBox {
  private readonly repeating = new Map<ToneName, ReturnType<typeof setInterval>>();

  constructor(
    private readonly context: BaseAudioContext,
    private readonly destination: AudioNode,
  ) {}

  /** Once, now. Returns when it is over, in s. */
  sound(name: ToneName): number {
    const tone = TONES[name];
    const begin = this.context.currentTime + 0.01;
    for (const note of tone.notes) this.note(note, begin + note.at);
    return length(tone);
  }

  /** A tone that goes on for as long as `on`. */
  keep(name: ToneName, on: boolean): void {
    const timer = this.repeating.get(name);
    if (on === (timer !== undefined)) return;
    if (on) {
      this.sound(name);
      this.repeating.set(
        name,
        setInterval(() => this.sound(name), (TONES[name].every ?? 2) * 1000),
      );
    } else {
      clearInterval(timer);
      this.repeating.delete(name);
    }
  }

  private note({ hz, to, lasts, gain }: Note, at: number): void {
    const oscillator = this.context.createOscillator();
    const envelope = this.context.createGain();
    oscillator.frequency.setValueAtTime(hz, at);
    if (to !== undefined) oscillator.frequency.linearRampToValueAtTime(to, at + lasts);
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(gain, at + SOFT);
    envelope.gain.setValueAtTime(gain, at + lasts - SOFT);
    envelope.gain.linearRampToValueAtTime(0, at + lasts);
    oscillator.connect(envelope).connect(this.destination);
    oscillator.start(at);
    oscillator.stop(at + lasts + 0.01);
    oscillator.onended = () => envelope.disconnect();
  }
}
