import { beforeEach, describe, expect, it } from "vitest";
import { avoiding, CONSOLE, PathWatch, PHONE, trafficOf } from "./path-watch.ts";

let watch: PathWatch;
let bytes: number;
beforeEach(() => {
  watch = new PathWatch(PHONE);
  watch.reset(0, true);
  bytes = 0;
});

/** Look every half second; what arrives arrives evenly until `dead`. */
function run(from: number, to: number, dead = Number.POSITIVE_INFINITY): string[] {
  const verdicts: string[] = [];
  for (let now = from; now <= to; now += 0.25) {
    if (now < dead) bytes += 100;
    watch.look({ received: bytes, sent: now * 1000, quiet: null, remote: null }, now);
    verdicts.push(watch.verdict(now));
  }
  return verdicts;
}

describe("a path", () => {
  it("is alive while something arrives, and silent a second after the last of it", () => {
    watch.expect(true, 0);
    expect(new Set(run(0.25, 5))).toEqual(new Set(["alive"]));
    expect(run(5.25, 6.5, 5.25)).toEqual(["alive", "alive", "alive", "silent", "silent", "silent"]);
  });

  it("says nothing when nothing is expected", () => {
    expect(new Set(run(0, 9, 0))).toEqual(new Set(["idle"]));
    watch.expect(true, 9);
    watch.expect(false, 9.5);
    expect(watch.verdict(20)).toBe("idle");
  });

  it("is not judged by a silence from before something was expected", () => {
    run(0, 60, 1);
    watch.expect(true, 60);
    expect(watch.verdict(60.9)).toBe("pending");
    expect(watch.verdict(61)).toBe("silent");
  });

  it("gets a new chance when another one is tried", () => {
    watch.expect(true, 0);
    run(0, 5, 1);
    watch.reset(5);
    expect(watch.verdict(5.9)).toBe("pending");
    expect(watch.verdict(6)).toBe("silent");
    watch.look({ received: bytes + 1, sent: 1, quiet: 0, remote: null }, 6.1);
    expect(watch.verdict(6.1)).toBe("alive");
  });

  it("does not count what arrived before the new one was tried", () => {
    watch.expect(true, 0);
    run(0, 4.75);
    watch.reset(5);
    watch.look({ received: bytes + 100, sent: 1, quiet: 0.4, remote: null }, 5.1); // arrived at 4.7
    expect(watch.verdict(5.1)).toBe("pending");
  });

  it("believes the browser's time of the last packet only between two looks", () => {
    watch.expect(true, 0);
    run(0, 4);
    watch.look({ received: bytes + 1, sent: 1, quiet: 0.3, remote: null }, 4.5); // at 4.2
    expect(watch.verdict(5.1)).toBe("alive");
    expect(watch.verdict(5.2)).toBe("silent");
    watch.look({ received: bytes + 2, sent: 1, quiet: 1e9, remote: null }, 6); // at 4.5, if at all
    expect(watch.verdict(5.4)).toBe("alive");
    watch.look({ received: bytes + 3, sent: 1, quiet: -1e9, remote: null }, 7);
    expect(watch.verdict(7.9)).toBe("alive");
    expect(watch.verdict(8)).toBe("silent");
  });

  it("is looked at more closely as soon as it is quiet", () => {
    watch.expect(true, 0);
    run(0, 2);
    expect(watch.quiet(2.2)).toBe(false);
    expect(watch.quiet(2.4)).toBe(true);
    watch.expect(false, 3);
    expect(watch.quiet(9)).toBe(false);
  });

  it("knows whether we send media, not only reports about it", () => {
    watch.look({ received: 0, sent: 600, quiet: null, remote: null }, 0.5);
    expect(watch.sends(1.5)).toBe(true);
    watch.look({ received: 0, sent: 800, quiet: null, remote: null }, 1.5);
    expect(watch.sends(1.6)).toBe(false);
  });
});

it("a console waits until the server would have said that the source is silent", () => {
  const console = new PathWatch(CONSOLE);
  console.reset(0, true);
  console.expect(true, 0);
  console.look({ received: 1, sent: 0, quiet: 0, remote: null }, 1);
  expect(console.verdict(2.2)).toBe("alive");
  expect(console.verdict(2.25)).toBe("silent");
  console.expect(false, 3); // it said so
  console.expect(true, 8); // and now that it is live again: then something must come soon
  expect(console.verdict(8.3)).toBe("pending");
  expect(console.verdict(8.4)).toBe("silent");
});

describe("the browser's report", () => {
  const report = (...rows: Record<string, unknown>[]): Map<string, Record<string, unknown>> =>
    new Map(rows.map((row, i) => [String(i), row]));
  it("has the transport's counters", () => {
    const transport = { type: "transport", bytesReceived: 70, bytesSent: 9 };
    const pair = { type: "candidate-pair", bytesReceived: 60, bytesSent: 9, timestamp: 5000 };
    expect(trafficOf(report(transport, pair))).toEqual({ received: 70, sent: 9, quiet: null, remote: null });
    const dated = { ...pair, lastPacketReceivedTimestamp: 4200 };
    expect(trafficOf(report(transport, dated))).toEqual({ received: 70, sent: 9, quiet: 0.8, remote: null });
  });
  it("has at least those of the pairs", () => {
    const pairs = [60, 7].map((bytesReceived) => ({ type: "candidate-pair", bytesReceived, bytesSent: 1 }));
    expect(trafficOf(report(...pairs))).toEqual({ received: 67, sent: 2, quiet: null, remote: null });
  });
  it("says where the path in use leads", () => {
    const rows = new Map<string, Record<string, unknown>>([
      ["t", { type: "transport", bytesReceived: 1, bytesSent: 1, selectedCandidatePairId: "p" }],
      ["p", { type: "candidate-pair", remoteCandidateId: "r" }],
      ["r", { type: "remote-candidate", address: "10.0.0.2", port: 5000, priority: 7 }],
    ]);
    expect(trafficOf(rows)?.remote).toEqual({ address: "10.0.0.2", port: 5000, priority: 7 });
  });
  it("may have none", () => {
    expect(trafficOf(report({ type: "codec" }))).toBeNull();
  });
});

describe("the answer to a restart", () => {
  const answer = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "a=candidate:1 1 udp 2130706431 10.0.0.2 5000 typ host",
    "a=candidate:2 1 UDP 2130706175 10.0.0.3 5000 typ host",
    "a=candidate:3 1 udp 2130705919 fd00::3 5000 typ host",
    "a=candidate:4 1 tcp 1518280447 10.0.0.2 5001 typ host tcptype passive",
    "",
  ].join("\r\n");
  const priorities = (sdp: string): number[] =>
    [...sdp.matchAll(/a=candidate:\S+ 1 \w+ (\d+)/g)].map((one) => Number(one[1]));

  it("puts every other way before the silent one, in their order", () => {
    const silent = { address: "10.0.0.2", port: 5000, priority: 2130706431 };
    const sdp = avoiding(silent, answer);
    expect(priorities(sdp)).toEqual([1, 2130706688, 2130706432, 1518280447]);
    expect(sdp.replace(/(1 \w+) \d+/g, "$1")).toBe(answer.replace(/(1 \w+) \d+/g, "$1"));
  });
  it("leaves them as they are when they go before it anyway", () => {
    const silent = { address: "10.0.0.3", port: 5000, priority: 2130706175 };
    const low = { ...silent, priority: 2130705918 };
    expect(priorities(avoiding(low, answer))).toEqual([2130706431, 1, 2130705919, 1518280447]);
  });
  it("gets above what was raised before", () => {
    const silent = { address: "10.0.0.3", port: 5000, priority: 2130706432 };
    expect(priorities(avoiding(silent, answer)).sort()[0]).toBe(1);
    expect(priorities(avoiding(silent, answer))[2]).toBe(2130706433);
  });
  it("changes nothing when there is no other way", () => {
    const only = answer.split("\r\n").slice(0, 2).join("\r\n");
    expect(avoiding({ address: "10.0.0.2", port: 5000, priority: 2130706431 }, only)).toBe(only);
  });
});
