/**
 * Keys that talk: F8, and the space bar where nothing else wants it. Rugged phones and Bluetooth push-to-talk buttons give
 * one of them, or a volume key where the browser passes it on and the person has asked for it.
 */
import type { Radio } from "./radio.ts";

const VOLUME = new Set(["AudioVolumeUp", "VolumeUp"]);

export function installTalkKeys(radio: Radio): void {
  const talks = (event: KeyboardEvent): boolean => {
    if (event.altKey || event.metaKey || event.ctrlKey) return false;
    if (event.code === "F8") return true;
    if (VOLUME.has(event.code) || VOLUME.has(event.key)) return radio.headset.on.peek();
    const target = event.target instanceof Element ? event.target : null;
    return event.code === "Space" && !target?.closest("button, a, input, textarea, select");
  };
  addEventListener(
    "keydown",
    (event) => {
      if (!talks(event)) return;
      event.preventDefault();
      if (!event.repeat) radio.down(event.code || event.key);
    },
    true,
  );
  addEventListener("keyup", (event) => radio.up(event.code || event.key), true);
}
