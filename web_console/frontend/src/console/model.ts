/** The console's state: one link, one world, one wall. Views read the signals; what an officer does calls a function. */
import { batch, computed, effect, type Signal, signal, untracked } from "@preact/signals";
import { now, serverTime, startClock } from "../clock.ts";
import type { Initial } from "../initial.ts";
import { Link } from "../link.ts";
import type { ServerInfo, Stream, Unit } from "../messages.ts";
import { load, save } from "../storage.ts";
import { applyDelta, applySnapshot, EMPTY, rowsOf, streamOfNumber, type World } from "../store.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { ALARM_SLOTS } from "../video/alarm-pictures.ts";
import { WallMedia } from "../video/media.ts";
import * as wallOf from "../video/wall.ts";
import { EMPTY_WALL, type Layout, type Wall } from "../video/wall.ts";
import { Desk } from "./desk.ts";

/** Every page, with the right without which it is not shown. */
export const PAGES = {
  "/wall": "stream.watch",
  "/radio": "talk.use",
  "/health": "health.read",
  "/admin/audit": "audit.read",
} as const;
export type Page = keyof typeof PAGES;

/** What a dialog is about to be done to. */
type Deed = { kind: "rename"; unit: string } | { kind: "close"; stream: string };

const KINDS = [
  ...(["unit", "device", "stream", "link", "health"] as const),
  ...(["group", "floor", "patch", "call", "callback", "alarm", "hold"] as const),
];

interface Preset {
  name: string;
  wall: Wall;
}

const MAX_PRESETS = 20;
const SAID_FOR = 6; // s
const ALARM_HEIGHT = 190; // px of a picture on an alarm's card

export class ConsoleModel {
  readonly world = signal<World>(EMPTY);
  readonly server = signal<ServerInfo | null>(null);
  readonly permissions = signal<readonly string[]>([]);
  readonly page = signal<Page>("/wall");
  /** When the world was last confirmed by the server (its wall clock, s). */
  readonly trueAt = signal(0);

  readonly wall: Signal<Wall>;
  readonly presets: Signal<Preset[]>;
  readonly sound = signal(load("sound", false));
  readonly soundBlocked = signal(false);
  readonly panelOpen = signal(load("panel", true));
  readonly sideOpen = signal(load("side", true));
  readonly singleKeys = signal(load("single-keys", true));
  readonly helpOpen = signal(false);
  readonly inviteOpen = signal(false);
  readonly deed = signal<Deed | null>(null);
  readonly search = signal("");
  /** Unit whose card is shown. */
  readonly selected = signal<string | null>(null);
  readonly typed = signal("");
  /** Slots whose statistics are shown. */
  readonly withStatistics = signal<ReadonlySet<number>>(new Set());
  /** Height of each slot's tile in device pixels, 0 = not to be seen. */
  private readonly heights = signal<ReadonlyMap<number, number>>(new Map());
  readonly fullscreen = signal<number | null>(null);
  readonly hidden = signal(document.hidden);
  readonly said = signal<{ text: string; until: number }>({ text: "", until: 0 });

  readonly rows = computed(() => rowsOf(this.world.value, this.search.value));
  readonly link: Link;
  readonly media: WallMedia;
  readonly desk: Desk;
  private fresh: boolean;

  constructor(readonly initial: Initial) {
    const kept = wallOf.wallFrom(load(this.key("wall"), null));
    this.fresh = kept === null;
    this.wall = signal<Wall>(kept ?? EMPTY_WALL);
    this.presets = signal<Preset[]>(presetsFrom(load(this.key("presets"), [])));
    this.permissions.value = initial.user?.permissions ?? [];
    this.link = new Link("", KINDS, {
      hello: (hello) => {
        batch(() => {
          this.server.value = hello.server;
          this.permissions.value = hello.user.permissions;
        });
        this.media.linkReady();
        this.desk.talk.helloed(hello.resumed);
      },
      message: (message) => {
        switch (message.type) {
          case "snapshot":
            this.world.value = applySnapshot(message);
            this.firstStreams();
            break;
          case "delta":
            this.world.value = applyDelta(this.world.peek(), message);
            this.firstStreams();
            break;
          case "slot":
            this.media.told(message);
            break;
          case "media":
            this.media.told(message);
            this.desk.talk.told(message);
            break;
          case "voice.slot":
          case "floor.told":
            this.desk.talk.told(message);
            break;
          case "pong":
            break;
        }
        this.trueAt.value = serverTime();
      },
    });
    this.media = new WallMedia(this.link);
    this.desk = new Desk({
      link: this.link,
      world: this.world,
      user: initial.user?.id ?? "",
      say: (text) => this.sayText(text),
      openSide: () => this.openSide(),
    });
  }

  start(): void {
    startClock();
    this.link.start();
    this.go(location.pathname, false);
    addEventListener("popstate", () => this.go(location.pathname, false));
    document.addEventListener("visibilitychange", () => {
      this.hidden.value = document.hidden;
    });
    effect(() => {
      const wall = this.wall.value;
      if (!this.fresh) save(this.key("wall"), wall);
    });
    effect(() => this.tellMedia());
    this.desk.start();
  }

  // ------------------------------------------------------------------ pages

  go(path: string, push = true): void {
    const page = path in PAGES && this.may(PAGES[path as Page]) ? (path as Page) : "/wall";
    if (page !== location.pathname) {
      if (push) history.pushState(null, "", page);
      else history.replaceState(null, "", page);
    }
    this.page.value = page;
  }

  may(permission: string): boolean {
    return this.permissions.value.includes(permission);
  }

  /** Tell the officer in words; read out, and shown for a while. */
  say(key: ConsoleKey, values: Record<string, string | number> = {}): void {
    this.sayText(t(key, values));
  }

  sayText(text: string): void {
    this.said.value = { text, until: now() + SAID_FOR };
  }

  togglePanel(): void {
    this.panelOpen.value = !this.panelOpen.peek();
    save("panel", this.panelOpen.peek());
  }

  toggleSide(): void {
    this.sideOpen.value = !this.sideOpen.peek();
    save("side", this.sideOpen.peek());
  }

  openSide(): void {
    if (!this.sideOpen.peek()) this.toggleSide();
  }

  toggleSingleKeys(): void {
    this.singleKeys.value = !this.singleKeys.peek();
    save("single-keys", this.singleKeys.peek());
  }

  // ------------------------------------------------------------------ wall

  change(step: (wall: Wall) => Wall): void {
    const before = this.wall.peek();
    const after = step(before);
    if (after.streams !== before.streams || after.order !== before.order || after.layout !== before.layout) {
      this.fresh = false;
    }
    this.wall.value = after;
  }

  setLayout(layout: Layout): void {
    this.change((wall) => wallOf.setLayout(wall, layout));
  }

  nextLayout(): void {
    const at = wallOf.LAYOUTS.indexOf(this.wall.peek().layout);
    this.setLayout(wallOf.LAYOUTS[(at + 1) % wallOf.LAYOUTS.length] ?? 4);
  }

  put(stream: string, position?: number): void {
    this.change((wall) =>
      position === undefined ? wallOf.placeNext(wall, stream) : wallOf.place(wall, position, stream),
    );
    this.say("placed", { name: this.nameOf(stream), n: this.wall.peek().focus + 1 });
  }

  /** Turn to the wall, with this stream on it. */
  show(stream: string): void {
    this.go("/wall");
    this.put(stream);
  }

  takeOff(position: number): void {
    const stream = wallOf.streamAt(this.wall.peek(), position);
    if (stream === null) return;
    this.change((wall) => wallOf.remove(wall, position));
    this.say("removed", { name: this.nameOf(stream) });
  }

  fill(): void {
    this.change((wall) => wallOf.fillWith(wall, this.liveStreams()));
  }

  clear(): void {
    this.change((wall) => ({ ...EMPTY_WALL, layout: wall.layout }));
  }

  putNumber(digits: string): void {
    const number = Number(digits);
    const stream = streamOfNumber(this.world.peek(), number);
    if (stream) this.put(stream.id);
    else {
      const known = [...this.world.peek().unit.values()].some((unit) => unit.number === number);
      this.say(known ? "number_no_stream" : "number_unknown", { n: digits });
    }
  }

  /** Also by this the officer's click or key lets the browser play. */
  setSound(on: boolean): void {
    this.soundBlocked.value = false;
    this.sound.value = on;
    save("sound", on);
  }

  toggleStatistics(slot: number): void {
    const shown = new Set(this.withStatistics.peek());
    if (!shown.delete(slot)) shown.add(slot);
    this.withStatistics.value = shown;
  }

  measured(slot: number, height: number): void {
    if ((this.heights.peek().get(slot) ?? 0) === height) return;
    this.heights.value = new Map(this.heights.peek()).set(slot, height);
  }

  savePreset(name: string): void {
    const others = this.presets.peek().filter((one) => one.name !== name);
    this.keepPresets([...others, { name, wall: this.wall.peek() }].slice(-MAX_PRESETS));
  }

  deletePreset(name: string): void {
    this.keepPresets(this.presets.peek().filter((one) => one.name !== name));
  }

  private keepPresets(presets: Preset[]): void {
    this.presets.value = presets;
    save(this.key("presets"), presets);
  }

  // ------------------------------------------------------------------ names

  /** The unit chosen in the list, by itself or by one of its streams. */
  selectedUnit(): Unit | undefined {
    const chosen = this.selected.peek() ?? "";
    const { unit: units, stream: streams } = this.world.peek();
    return units.get(chosen) ?? this.unitOf(streams.get(chosen));
  }

  private unitOf(stream: Stream | undefined): Unit | undefined {
    return stream && this.world.value.unit.get(stream.unit);
  }

  /** "3 单兵三号 · 主通道"; without the channel where the unit has only one. */
  nameOf(id: string): string {
    const stream = this.world.value.stream.get(id);
    const unit = this.unitOf(stream);
    if (!stream) return id;
    const { stream: streams, device: devices } = this.world.value;
    const siblings = [...streams.values()].filter(
      (one) => one.unit === stream.unit && !devices.get(one.device)?.revoked,
    );
    const alone = siblings.length <= 1;
    const own = stream.name && stream.name !== unit?.name ? stream.name : stream.channel;
    const name = unit ? (alone ? unit.name : `${unit.name} · ${own}`) : own;
    return unit ? `${unit.number} ${name}` : name;
  }

  /** Why a stream gives no picture; who waits for a phone waits for a person. */
  causeOf(stream: Stream): string {
    const phone = this.world.value.device.get(stream.device)?.kind === "phone";
    return phone && stream.cause === "never_connected" ? "never_opened" : stream.cause;
  }

  private liveStreams(): string[] {
    return rowsOf(this.world.peek(), "").flatMap((row) =>
      row.streams.filter((stream) => stream.state === "live").map((stream) => stream.id),
    );
  }

  /** A wall nobody has arranged yet shows what is live, until somebody touches it. */
  private firstStreams(): void {
    if (!this.fresh) return;
    const filled = wallOf.fillWith(this.wall.peek(), this.liveStreams());
    if (filled.streams.some((one, i) => one !== this.wall.peek().streams[i])) this.wall.value = filled;
  }

  private key(name: string): string {
    return `${name}.${this.initial.user?.id ?? ""}`;
  }

  /** Ask for exactly what can be seen, at the size it is seen in. */
  private tellMedia(): void {
    const wall = this.wall.value;
    const visible = this.page.value === "/wall" && !this.hidden.value;
    const full = this.fullscreen.value;
    const heights = this.heights.value;
    const sound = this.sound.value && !this.soundBlocked.value;
    const wants = Array.from({ length: wallOf.PLACES }, (_, position) => {
      const slot = wallOf.slotAt(wall, position);
      const stream = wall.streams[slot] ?? null;
      const seen = visible && position < wall.layout && (full === null || full === slot);
      const focused = position === wall.focus && position < wall.layout;
      return {
        slot,
        stream,
        height: seen && stream !== null ? (heights.get(slot) ?? 0) : 0,
        priority: focused ? 1 : 0,
        audio: sound && focused && stream !== null,
      };
    });
    const cards = this.sideOpen.value && !this.hidden.value;
    const pictures = this.desk.pictures.value;
    const alarms = Array.from({ length: ALARM_SLOTS }, (_, at) => {
      const stream = pictures.find((one) => one.slot === at)?.stream ?? null;
      const height = cards && stream !== null ? Math.round(ALARM_HEIGHT * devicePixelRatio) : 0;
      return { slot: wallOf.PLACES + at, stream, height, priority: 2, audio: false };
    });
    untracked(() => {
      if (visible) this.media.need(Array.from({ length: wallOf.poolFor(wall) }, (_, slot) => slot));
      this.media.need(alarms.filter((one) => one.height).map((one) => one.slot));
      for (const { slot, ...want } of [...wants, ...alarms]) this.media.wish(slot, want);
    });
  }
}

function presetsFrom(kept: unknown): Preset[] {
  if (!Array.isArray(kept)) return [];
  return kept.flatMap((one: Partial<Preset> | null) => {
    const wall = wallOf.wallFrom(one?.wall);
    return wall && typeof one?.name === "string" ? [{ name: one.name, wall }] : [];
  });
}
