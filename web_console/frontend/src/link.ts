/** The WebSocket: a thin shell around `LinkCore`. */
import { signal } from "@preact/signals";
import type { Outcome } from "./api.ts";
import { now, onBeat, serverTimeIs } from "./clock.ts";
import type { Commands, CommandType, Hello, Problem, ServerMessage } from "./messages.ts";
import { type Action, LinkCore, type Persistence, type Phase } from "./protocol.ts";

interface LinkStatus {
  phase: Phase;
  /** A connection was ready once; before that the page is starting, not stale. */
  everReady: boolean;
  /** When the last message came (page clock, s). */
  heard: number;
  /** s until the next attempt, 0 = now. */
  retryIn: number;
  unanswered: number;
  /** Why the server sent us away for good, "" = it did not. */
  ended: string;
}

type Delivered = Exclude<ServerMessage, { type: "hello" | "reply" | "goodbye" }>;

interface LinkEvents {
  hello: (hello: Hello) => void;
  message: (message: Delivered) => void;
}

const TOO_MANY: Problem = { code: "too_many", message: "", field: "", retryAfter: 0 };
const OFFLINE: Problem = { code: "offline", message: "", field: "", retryAfter: 0 };

export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

export class Link {
  readonly status = signal<LinkStatus>({
    phase: "waiting",
    everReady: false,
    heard: now(),
    retryIn: 0,
    unanswered: 0,
    ended: "",
  });
  private readonly core: LinkCore;
  private readonly replies = new Map<string, (outcome: Outcome<unknown>) => void>();
  private readonly sockets = new Map<number, WebSocket>();
  private ended = "";

  constructor(
    token: string,
    want: readonly string[],
    private readonly events: LinkEvents,
  ) {
    this.core = new LinkCore({
      client: randomId(),
      token,
      want,
      random: Math.random,
      newClient: randomId,
    });
  }

  start(): void {
    onBeat((at) => this.act(this.core.tick(at)));
    const suspect = (): void => this.suspect();
    addEventListener("online", suspect);
    addEventListener("pageshow", suspect);
    (navigator as Navigator & { connection?: EventTarget }).connection?.addEventListener("change", suspect);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) suspect();
    });
    this.act(this.core.tick(now()));
  }

  /** Something speaks against the connection, or for a new one. */
  suspect(): void {
    this.core.suspect(now());
    this.act(this.core.tick(now()));
  }

  get ready(): boolean {
    return this.core.phase === "ready";
  }

  command<T extends CommandType>(
    type: T,
    fields: Commands[T]["fields"],
    persistence: Persistence,
  ): Promise<Outcome<Commands[T]["result"]>> {
    const id = this.core.command(type, fields, persistence);
    if (id === null) {
      const problem = this.core.phase === "ready" ? TOO_MANY : OFFLINE;
      return Promise.resolve({ ok: false, problem });
    }
    return new Promise((resolve) => {
      this.replies.set(id, resolve as (outcome: Outcome<unknown>) => void);
      this.act([]);
    });
  }

  /** The key is still held: see PROTOCOL.md, Talking. */
  alive(): void {
    if (this.core.tell("floor.alive")) this.act([]);
  }

  private open(number: number): void {
    const address = new URL("/ws", location.href);
    address.protocol = address.protocol === "http:" ? "ws:" : "wss:";
    const socket = new WebSocket(address);
    this.sockets.set(number, socket);
    socket.onopen = () => {
      this.core.opened(number, now());
      this.act([]);
    };
    socket.onmessage = (event: MessageEvent) => {
      if (this.sockets.has(number)) this.act(this.core.received(number, String(event.data), now()));
    };
    socket.onclose = () => {
      if (this.sockets.delete(number)) this.act(this.core.closed(number, now()));
    };
  }

  private act(actions: Action[]): void {
    for (const action of actions) {
      switch (action.do) {
        case "connect":
          this.open(action.socket);
          break;
        case "drop": {
          const socket = this.sockets.get(action.socket);
          this.sockets.delete(action.socket);
          socket?.close();
          break;
        }
        case "answer": {
          const resolve = this.replies.get(action.id);
          this.replies.delete(action.id);
          resolve?.(action.error ? { ok: false, problem: action.error } : { ok: true, value: action.result });
          break;
        }
        case "deliver":
          this.deliver(action.message);
          break;
        case "end":
          this.ended = action.reason;
          break;
      }
    }
    for (const { socket, text } of this.core.takeOutgoing()) this.sockets.get(socket)?.send(text);
    this.publish();
  }

  private deliver(message: Hello | Delivered): void {
    if (message.type === "hello") {
      serverTimeIs(message.server.time);
      this.events.hello(message);
      return;
    }
    if (message.type === "pong") serverTimeIs(message.time);
    this.events.message(message);
  }

  private publish(): void {
    const last = this.status.peek();
    const next: LinkStatus = {
      phase: this.core.phase,
      everReady: last.everReady || this.core.phase === "ready",
      heard: this.core.lastHeard ?? last.heard,
      retryIn: Math.ceil(this.core.retryIn(now())),
      unanswered: this.core.unanswered,
      ended: this.ended,
    };
    const same = (Object.keys(next) as (keyof LinkStatus)[]).every((key) => next[key] === last[key]);
    if (!same) this.status.value = next;
  }
}
