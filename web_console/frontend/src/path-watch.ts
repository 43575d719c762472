/**
 * Whether the media path that a peer connection uses still carries anything: pure.
 *
 * A path may die without a word from the browser: a cell that went away, a NAT that forgot, one of two networks that
 * still counts as up. What ought to arrive and does not is the evidence. A console is sent pictures while the server
 * says that a slot is live; a phone that sends is answered ten times a second with what arrived of it.
 *
 * The shell gives the counters of its transport about twice a second, and more often while `silent`. Times are seconds of one
 * monotonic clock.
 */
interface Patience {
  /** Silence of the path after which it counts as dead. */
  silence: number;
  /** Something must have been expected for so long. */
  expected: number;
}

/**
 * The server needs a second without packets to see that a source is silent, and then says that the slot is not live; a
 * console waits a little longer, so that a publisher's death is not taken for that of its own path.
 */
export const CONSOLE: Patience = { silence: 1.25, expected: 0.4 };
/** A phone hears something every 0.1 s. */
export const PHONE: Patience = { silence: 1, expected: 1 };
const MEDIA_LEAST = 1000; // bytes a second; less is but reports, which are answered once a second

/**
 * `idle`: nothing is expected, so silence says nothing. `alive`: something arrived, and not long ago. `silent`: nothing,
 * for too long. `pending`: too early to say.
 */
type Verdict = "idle" | "pending" | "alive" | "silent";

/** Where the other end of the path is, by the candidate that is in use. */
export interface Remote {
  address: string;
  port: number;
  priority: number;
}

/** Counters of one transport since it was made; `quiet`: s since the last packet, null = the browser does not tell. */
export interface Traffic {
  received: number;
  sent: number;
  quiet: number | null;
  remote: Remote | null;
}

export class PathWatch {
  private received = 0;
  private sent = 0;
  private sentAt = Number.NEGATIVE_INFINITY;
  private lookedAt = 0;
  private resetAt = 0;
  private heardAt = 0;
  private arrived = false;
  private expectedAt: number | null = null;

  constructor(private readonly patience: Patience) {}

  /** Another path is tried from now on, or another connection: what it carries is not known yet. */
  reset(now: number, afresh = false): void {
    this.heardAt = now;
    this.resetAt = now;
    this.arrived = false;
    if (!afresh) return;
    this.received = 0;
    this.sent = 0;
    this.sentAt = Number.NEGATIVE_INFINITY;
    this.lookedAt = now;
    this.expectedAt = null;
  }

  /** Something ought to arrive now, or no longer. */
  expect(something: boolean, now: number): void {
    if (!something) this.expectedAt = null;
    else this.expectedAt ??= now;
  }

  look(traffic: Traffic, now: number): void {
    if (traffic.sent - this.sent > MEDIA_LEAST * (now - this.lookedAt)) this.sentAt = now;
    if (traffic.received > this.received) {
      const last = traffic.quiet === null ? now : now - traffic.quiet;
      const heardAt = Math.min(now, Math.max(last, this.lookedAt));
      if (heardAt >= this.heardAt) {
        this.heardAt = heardAt;
        this.arrived = true;
      }
    }
    this.received = traffic.received;
    this.sent = traffic.sent;
    this.lookedAt = now;
  }

  /** s since this path was tried for the first time. */
  age(now: number): number {
    return now - this.resetAt;
  }

  /** We have sent sound or a picture within the last second. */
  sends(now: number): boolean {
    return now - this.sentAt <= 1;
  }

  verdict(now: number): Verdict {
    if (this.expectedAt === null) return "idle";
    const silence = now - this.heardAt;
    if (silence < this.patience.silence) return this.arrived ? "alive" : "pending";
    return now - this.expectedAt < this.patience.expected ? "pending" : "silent";
  }

  /** Nothing arrived for a moment: worth looking again soon. */
  quiet(now: number): boolean {
    return this.expectedAt !== null && now - this.heardAt > this.patience.silence / 3;
  }
}

type Row = Record<string, unknown>;
const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0);

/** The counters in a browser's report; null when it has none. */
export function trafficOf(report: ReadonlyMap<string, Row>): Traffic | null {
  let transport: Row | undefined;
  let selected: Row | undefined;
  const pairs: Row[] = [];
  for (const row of report.values()) {
    if (row.type === "transport" && typeof row.bytesReceived === "number") transport ??= row;
    else if (row.type === "candidate-pair" && numberOf(row.bytesReceived) + numberOf(row.bytesSent) > 0) {
      pairs.push(row);
      if (row.nominated === true && row.state === "succeeded") selected = row;
    }
  }
  selected = report.get(String(transport?.selectedCandidatePairId)) ?? selected;
  if (!transport && pairs.length === 0) return null;
  const sum = (name: string): number => pairs.reduce((total, row) => total + numberOf(row[name]), 0);
  const ages = pairs.flatMap((row) =>
    typeof row.lastPacketReceivedTimestamp === "number" && row.lastPacketReceivedTimestamp > 0
      ? [(numberOf(row.timestamp) - row.lastPacketReceivedTimestamp) / 1000]
      : [],
  );
  return {
    received: transport ? numberOf(transport.bytesReceived) : sum("bytesReceived"),
    sent: transport ? numberOf(transport.bytesSent) : sum("bytesSent"),
    quiet: ages.length ? Math.max(0, Math.min(...ages)) : null,
    remote: remoteOf(report.get(String(selected?.remoteCandidateId))),
  };
}

function remoteOf(row: Row | undefined): Remote | null {
  if (typeof row?.address !== "string" || typeof row.port !== "number") return null;
  return { address: row.address, port: row.port, priority: numberOf(row.priority) };
}

const CANDIDATE = /^(a=candidate:\S+ 1 udp )(\d+)( (\S+) (\d+) )/i;
const LARGEST = 2 ** 31 - 1;

/**
 * The answer to a restart that a silent path was the reason for: every other way to the server goes before the silent one.
 * A browser does not leave a path that was good a moment ago for 3.5 s, unless one of higher priority answers.
 */
export function avoiding(silent: Remote, sdp: string): string {
  const lines = sdp.split("\r\n");
  const found = lines.map((line) => CANDIDATE.exec(line));
  const isSilent = (one: RegExpExecArray): boolean =>
    one[4] === silent.address && Number(one[5]) === silent.port;
  const others = found.flatMap((one) => (one && !isSilent(one) ? [Number(one[2])] : []));
  const more = silent.priority + 1 - Math.min(...others);
  if (others.length === 0) return sdp;
  return lines
    .map((line, i) => {
      const one = found[i];
      if (!one) return line;
      const priority = isSilent(one) ? 1 : Math.min(LARGEST, Number(one[2]) + Math.max(0, more));
      return line.replace(CANDIDATE, `$1${priority}$3`);
    })
    .join("\r\n");
}
