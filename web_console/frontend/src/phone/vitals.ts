/** The phone itself: battery and network, shown here and told to the server. */
import { signal } from "@preact/signals";
import type { Link } from "../link.ts";

const EVERY = 30; // s

interface Battery extends EventTarget {
  level: number;
  charging: boolean;
}

interface NetworkInformation extends EventTarget {
  type?: string;
  effectiveType?: string;
}

export class Vitals {
  readonly battery = signal<{ percent: number; charging: boolean } | null>(null);
  readonly network = signal("");
  private tellAt = 0;

  constructor(private readonly link: Link) {}

  start(): void {
    void this.watchBattery();
    this.watchNetwork();
  }

  /** Something changed, or the server does not know yet. */
  soon(): void {
    this.tellAt = 0;
  }

  beat(at: number): void {
    if (at < this.tellAt || !this.link.ready) return;
    this.tellAt = at + EVERY;
    const battery = this.battery.peek();
    const fields = {
      battery: battery?.percent ?? null,
      charging: battery?.charging ?? null,
      network: this.network.peek(),
    };
    void this.link.command("phone.state", fields, "now");
  }

  private async watchBattery(): Promise<void> {
    const get = (navigator as Navigator & { getBattery?: () => Promise<Battery> }).getBattery;
    if (!get) return;
    const battery = await get.call(navigator);
    const read = (): void => {
      this.battery.value = { percent: Math.round(battery.level * 100), charging: battery.charging };
    };
    battery.addEventListener("levelchange", read);
    battery.addEventListener("chargingchange", read);
    read();
  }

  private watchNetwork(): void {
    const network = (navigator as Navigator & { connection?: NetworkInformation }).connection;
    if (!network) return;
    const read = (): void => {
      this.network.value =
        network.type === "wifi" || network.type === "ethernet" ? network.type : (network.effectiveType ?? "");
      this.soon();
    };
    network.addEventListener("change", read);
    read();
  }
}
