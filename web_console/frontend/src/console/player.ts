/** Plays recorded transmissions, one at a time, on the bus of the selected groups. */
import { signal } from "@preact/signals";
import { now } from "../clock.ts";
import type { Spurt } from "../messages.ts";
import type { Shift } from "../voice/shift.ts";
import type { Recalled } from "./recall.ts";

interface Playing {
  spurt: Spurt;
  paused: boolean;
  /** s */
  position: number;
  duration: number;
  failed: boolean;
}

export class Player {
  readonly playing = signal<Playing | null>(null);
  last: Recalled | null = null;

  private element: HTMLAudioElement | null = null;
  private connected = false;

  constructor(private readonly shift: Shift) {}

  play(spurt: Spurt): void {
    const element = this.prepare();
    this.last = { spurt: spurt.id, ended: Number.POSITIVE_INFINITY };
    this.playing.value = { spurt, paused: false, position: 0, duration: spurt.duration, failed: false };
    element.src = `/recordings/${encodeURIComponent(spurt.id)}`;
    void element.play().catch((error: unknown) => {
      if (!(error instanceof DOMException && error.name === "AbortError")) this.fail();
    });
  }

  toggle(): void {
    const element = this.element;
    if (!element || !this.playing.peek()) return;
    if (element.paused) void element.play().catch(() => this.fail());
    else element.pause();
  }

  seek(position: number): void {
    if (this.element) this.element.currentTime = position;
  }

  stop(): void {
    this.element?.pause();
    this.end();
  }

  private prepare(): HTMLAudioElement {
    const element = this.element ?? this.make();
    const { buses } = this.shift;
    if (buses && !this.connected) {
      buses.connect(element);
      this.connected = true;
    }
    return element;
  }

  private make(): HTMLAudioElement {
    const element = new Audio();
    this.element = element;
    const update = (): void => {
      const now = this.playing.peek();
      if (!now || element.ended) return;
      const duration = Number.isFinite(element.duration) ? element.duration : now.spurt.duration;
      this.playing.value = { ...now, paused: element.paused, position: element.currentTime, duration };
    };
    for (const event of ["timeupdate", "play", "pause", "loadedmetadata", "seeked"]) {
      element.addEventListener(event, update);
    }
    element.onended = () => this.end();
    element.onerror = () => this.fail();
    return element;
  }

  private end(): void {
    if (this.last) this.last = { ...this.last, ended: now() };
    this.playing.value = null;
  }

  private fail(): void {
    const playing = this.playing.peek();
    if (playing) this.playing.value = { ...playing, paused: true, failed: true };
  }
}
