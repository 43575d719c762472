/** The newest recorded transmissions of the groups that are listened to, read again whenever one may have ended. */
import { computed, effect, signal } from "@preact/signals";
import type { Problem } from "../api.ts";
import { serverTime } from "../clock.ts";
import type { Link } from "../link.ts";
import type { Floor, Spurt } from "../messages.ts";
import type { World } from "../store.ts";
import { withHolds } from "./holds.ts";

const NEWEST = 50;
const SOON_MS = 400; // the record is written when the spurt has ended
const APART_MS = 1500; // however much is said at once

interface Listened {
  world: { value: World };
  /** Ids of the groups; none = all. */
  groups: () => readonly string[];
}

export class RecentSpurts {
  readonly spurts = signal<readonly Spurt[]>([]);
  readonly problem = signal<Problem | null>(null);
  /** When the list was last true (server's clock), 0 = it never was. */
  readonly trueAt = signal(0);

  private timer: ReturnType<typeof setTimeout> | undefined;
  private readAt = Number.NEGATIVE_INFINITY;
  private seen = "";

  constructor(
    private readonly link: Link,
    private readonly listened: Listened,
  ) {}

  start(): void {
    effect(() => {
      const groups = this.listened.groups();
      const ready = this.link.status.value.phase === "ready";
      const what = `${ready} ${groups.join()} ${ended(this.listened.world.value.floor.values())}`;
      if (!ready || what === this.seen) return;
      this.seen = what;
      this.soon();
    });
    const holds = computed(() => this.listened.world.value.hold);
    effect(() => {
      this.spurts.value = withHolds(this.spurts.peek(), holds.value);
    });
  }

  /** As soon as what is waited for has been read. */
  async fresh(): Promise<void> {
    if (this.timer !== undefined) await this.read();
  }

  async read(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.readAt = performance.now();
    const groups = [...this.listened.groups()];
    const outcome = await this.link.command("spurt.search", { groups, limit: NEWEST }, "now");
    if (!outcome.ok) {
      this.problem.value = outcome.problem;
      return;
    }
    this.problem.value = null;
    this.spurts.value = outcome.value.spurts;
    this.trueAt.value = serverTime();
    if (outcome.value.spurts.some((one) => one.state === "recording")) this.soon();
  }

  private soon(): void {
    const wait = Math.max(SOON_MS, this.readAt + APART_MS - performance.now());
    this.timer ??= setTimeout(() => void this.read(), wait);
  }
}

/** Changes when a spurt has ended somewhere. */
function ended(floors: Iterable<Floor>): string {
  return [...floors]
    .filter((floor) => floor.state !== "taken")
    .map((floor) => `${floor.id}:${floor.sequence}${floor.state === "tail" ? "t" : ""}`)
    .join();
}
