/** The page's clocks: monotonic seconds, the server's wall clock, and a beat twice a second that hidden tabs keep. */
import { signal } from "@preact/signals";

/** Seconds of the page's monotonic clock. */
export const now = (): number => performance.now() / 1000;

/** Changes at every beat; read it to be drawn again. */
export const beat = signal(now());

let offset = 0; // server's wall clock − ours, s

export function serverTimeIs(time: number): void {
  offset = time - Date.now() / 1000;
}

/** This device's wall clock, which may be wrong and be set at any time. */
export const deviceTime = (): number => Date.now() / 1000;

/** A time of this device's clock by the server's one, as far as it is known now. */
export const byServer = (time: number): number => time + offset;

/** The server's wall clock, s since 1970 UTC. */
export const serverTime = (): number => byServer(deviceTime());

const listeners = new Set<(now: number) => void>();

export function onBeat(listener: (now: number) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function strike(): void {
  const at = now();
  for (const listener of listeners) listener(at);
  beat.value = at;
}

export function startClock(): void {
  const worker = new Worker(new URL("./heartbeat.worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = strike;
  worker.onerror = () => {
    worker.terminate();
    setInterval(strike, 500);
  };
}
