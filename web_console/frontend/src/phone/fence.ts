/** One page of a browser at a time: two would hold the microphone twice, ring twice and echo each other. */
import { signal } from "@preact/signals";
import { randomId } from "../link.ts";

const CHANNEL = "fengsui-phone";

export class Fence {
  /** A newer page of this browser has taken over. */
  readonly closed = signal(false);

  start(): void {
    if (!("BroadcastChannel" in window)) return;
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = () => {
      this.closed.value = true;
      channel.close();
    };
    channel.postMessage(randomId());
  }
}
