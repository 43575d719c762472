/** The phone page's state: the link and the world it tells of, and what the page does with them, each a part of its own. */
import { batch, computed, effect, signal } from "@preact/signals";
import { onBeat, startClock } from "../clock.ts";
import type { Initial } from "../initial.ts";
import { Link } from "../link.ts";
import type { ServerInfo } from "../messages.ts";
import { forget, load, save } from "../storage.ts";
import { applyDelta, applySnapshot, EMPTY, type World } from "../store.ts";
import { Awake } from "./awake.ts";
import { Fence } from "./fence.ts";
import { Locator } from "./locator.ts";
import { Publisher } from "./publisher.ts";
import { Radio } from "./radio.ts";
import { Sos } from "./sos.ts";
import { installTalkKeys } from "./talk-keys.ts";
import { Vitals } from "./vitals.ts";

const TOKEN = "join-token";
const WANTED = ["unit", "device", "stream", "group", "floor", "call", "callback", "alarm"];

/** What is open in place of the picture. */
export type Sheet = "" | "groups" | "callback" | "status";

export class PhoneModel {
  readonly server = signal<ServerInfo | null>(null);
  readonly name = signal("");
  readonly world = signal<World>(EMPTY);
  readonly sheet = signal<Sheet>("");
  /** The page has neither a link nor an account. */
  readonly nobody: boolean;

  readonly link: Link;
  readonly awake = new Awake();
  readonly fence = new Fence();
  readonly publisher: Publisher;
  readonly locator: Locator;
  readonly vitals: Vitals;
  readonly radio: Radio;
  readonly sos: Sos;
  readonly stream = computed(() => this.world.value.stream.get(this.own.value));
  /** Who this phone is to talk groups. */
  readonly self = computed(() => ({
    user: this.token === "" ? (this.initial.user?.id ?? "") : "",
    unit: this.stream.value?.unit ?? [...this.world.value.unit.keys()][0] ?? "",
  }));

  private readonly own = signal("");
  private readonly leg = signal("");
  private readonly token: string;
  /** The world is that of this connection, not of one before a restart. */
  private fresh = false;

  constructor(readonly initial: Initial) {
    this.token = takeToken();
    this.nobody = this.token === "" && initial.user === null;
    this.link = new Link(this.token, WANTED, {
      hello: (hello) =>
        batch(() => {
          this.server.value = hello.server;
          this.name.value = hello.user.name;
          this.own.value = hello.stream;
          this.leg.value = hello.leg;
          this.fresh = hello.resumed;
          this.vitals.soon();
          this.locator.flush();
          this.radio.talk.helloed(hello.resumed);
        }),
      message: (message) => {
        if (message.type === "snapshot") {
          this.fresh = true;
          this.world.value = applySnapshot(message);
        } else if (message.type === "delta") this.world.value = applyDelta(this.world.peek(), message);
        else if (message.type === "media") {
          this.publisher.told(message);
          this.radio.talk.told(message);
        } else if (message.type === "floor.told" || message.type === "voice.slot")
          this.radio.talk.told(message);
      },
    });
    this.publisher = new Publisher(this.link, this.stream, this.awake);
    this.locator = new Locator(this.link);
    this.vitals = new Vitals(this.link);
    this.radio = new Radio(this.link, this.world, this.self, this.leg, this.awake);
    this.sos = new Sos({
      talk: this.radio.talk,
      world: this.world,
      self: this.self,
      locator: this.locator,
      awake: this.awake,
      begin: () => void this.radio.begin(),
      openCamera: () => void this.publisher.goLive(),
      ready: () => this.link.ready && this.fresh && !this.fence.closed.peek(),
    });
  }

  /** The address that opens this page elsewhere, for browsers that cannot capture. */
  get address(): string {
    return this.token ? `${location.origin}/j/${this.token}` : `${location.origin}/m`;
  }

  start(): void {
    if (this.nobody) return;
    startClock();
    this.link.start();
    this.awake.start();
    onBeat((at) => {
      this.vitals.beat(at);
      this.publisher.beat(at);
      this.locator.flush();
    });
    effect(() => {
      const { ended } = this.link.status.value;
      if (!ended) return;
      this.stop();
      if (ended !== "schema") forget(TOKEN); // it opens nothing any more
    });
    effect(() => {
      if (this.fence.closed.value) this.stop();
    });
    this.fence.start();
    this.publisher.start();
    this.vitals.start();
    this.locator.start();
    this.radio.start();
    installTalkKeys(this.radio);
    this.sos.start();
  }

  /** Nothing of this page is sent or heard any more. */
  private stop(): void {
    this.publisher.stop();
    this.radio.end();
  }
}

/** The join link's secret, moved out of the address bar and kept in this browser. */
function takeToken(): string {
  const inPath = /^\/j\/([^/]+)$/.exec(location.pathname)?.[1];
  if (inPath) {
    save(TOKEN, decodeURIComponent(inPath));
    history.replaceState(null, "", "/m");
    return decodeURIComponent(inPath);
  }
  return load(TOKEN, "");
}
