/** The screen stays on for as long as somebody has a reason: a sleeping phone closes camera and microphone. */
import { signal } from "@preact/signals";

export class Awake {
  /** The browser has granted it. */
  readonly held = signal(false);
  private readonly reasons = new Set<string>();
  private lock: WakeLockSentinel | null = null;

  start(): void {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.apply();
    });
  }

  want(reason: string, on: boolean): void {
    if (on === this.reasons.has(reason)) return;
    if (on) this.reasons.add(reason);
    else this.reasons.delete(reason);
    void this.apply();
  }

  private async apply(): Promise<void> {
    if (!("wakeLock" in navigator)) return;
    if (this.reasons.size === 0) {
      const lock = this.lock;
      this.lock = null;
      await lock?.release().catch(() => undefined);
      return;
    }
    if (this.held.peek()) return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      this.lock = lock;
      this.held.value = true;
      lock.addEventListener("release", () => {
        if (this.lock === lock) this.lock = null;
        this.held.value = false;
      });
      if (this.reasons.size === 0) void this.apply(); // the reason was over before the browser had answered
    } catch {
      this.held.value = false; // low battery, or the page is hidden; asked for again when it is looked at
    }
  }
}
