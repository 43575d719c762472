/** Which private calls are this client's, and what they need. Pure. */
import type { PrivateCall, Talker } from "../messages.ts";

export interface Self {
  user: string;
  unit: string;
}

interface Calls {
  /** Rings here and can be taken. */
  incoming: PrivateCall | null;
  /** Ours: rings at the other end, goes on, or has just ended. */
  current: PrivateCall | null;
  /** Both talk at once: the microphone is open without a key. */
  open: boolean;
}

/** `own`: calls that were started or taken here. An ended one stays in sight until it leaves `own`. */
export function callsOf(calls: Iterable<PrivateCall>, self: Self, own: ReadonlySet<string>): Calls {
  const all = [...calls].sort((a, b) => b.since - a.since);
  const mine = all.filter((call) => own.has(call.id));
  const current = mine.find((call) => call.state !== "ended") ?? mine[0] ?? null;
  const incoming =
    all.find((call) => call.state === "ringing" && !own.has(call.id) && isSelf(call.callee, self)) ?? null;
  return { incoming, current, open: current?.state === "active" && current.duplex === "full" };
}

export function otherOf(call: PrivateCall, self: Self): Talker {
  return isSelf(call.callee, self) && !isSelf(call.caller, self) ? call.caller : call.callee;
}

function isSelf(talker: Talker, self: Self): boolean {
  return (self.user !== "" && talker.user === self.user) || (self.unit !== "" && talker.unit === self.unit);
}
