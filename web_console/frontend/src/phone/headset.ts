/**
 * The button of a headset, and what the locked screen shows. Browsers tell a page only that the button was pressed, not
 * that it is held: so it begins and ends a transmission, only for whoever has switched that on, and never in a hidden page.
 */
import { effect, signal } from "@preact/signals";
import { load, save } from "../storage.ts";
import type { Talk } from "../voice/talk.ts";

const SETTING = "headset-key";
const KEY = "headset"; // of the talk core
const SILENCE_S = 10; // shorter sounds get no place on the locked screen

export class Headset {
  readonly on = signal(load(SETTING, false));
  /** The browser has such buttons at all. */
  readonly possible = "mediaSession" in navigator;
  private held = false; // by this button
  private silence: HTMLAudioElement | null = null;

  constructor(
    private readonly talk: Talk,
    private readonly groupName: () => string,
  ) {}

  start(): void {
    if (!this.possible) return;
    effect(() => {
      if (this.talk.shift.state.value === "on") this.play();
      else this.silence?.pause();
    });
    effect(() => {
      // a refused key is let go at once: there is no key-up
      if (this.talk.press.value.phase === "refused") queueMicrotask(() => this.letGo());
    });
    for (const action of ["play", "pause", "stop"] as const) {
      try {
        navigator.mediaSession.setActionHandler(action, () => this.pressed());
      } catch {
        // a browser that does not know this one
      }
    }
  }

  set(on: boolean): void {
    this.on.value = on;
    save(SETTING, on);
    if (!on) this.letGo();
  }

  /** What the locked screen says. */
  tell(group: string, talker: string): void {
    if (!this.possible || !("MediaMetadata" in window)) return;
    navigator.mediaSession.metadata = new MediaMetadata({
      title: talker ? `▼ ${talker}` : group,
      artist: talker ? group : "",
    });
  }

  private pressed(): void {
    this.play(); // the browser may have paused it
    if (!this.on.peek() || document.hidden) return;
    if (this.held && this.talk.press.peek().held) {
      this.letGo();
    } else if (this.groupName()) {
      this.held = true;
      this.talk.down(KEY);
    }
  }

  private letGo(): void {
    if (!this.held) return;
    this.held = false;
    this.talk.up(KEY);
  }

  /** Browsers give buttons and a place on the locked screen to pages that play a sound with a length, however quiet. */
  private play(): void {
    this.silence ??= silentSound();
    void this.silence.play().catch(() => undefined);
    navigator.mediaSession.playbackState = "playing";
  }
}

function silentSound(): HTMLAudioElement {
  const rate = 8000;
  const size = rate * SILENCE_S;
  const bytes = new Uint8Array(44 + size).fill(128);
  const view = new DataView(bytes.buffer);
  const text = (at: number, letters: string): void => {
    for (const [i, letter] of [...letters].entries()) view.setUint8(at + i, letter.charCodeAt(0));
  };
  text(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate, true);
  view.setUint16(32, 1, true);
  view.setUint16(34, 8, true);
  text(36, "data");
  view.setUint32(40, size, true);
  const element = new Audio(URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })));
  element.loop = true;
  return element;
}
