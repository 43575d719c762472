/** Private calls: one that rings here, and the one that goes on. Neither takes the keyboard away from the page. */
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { PrivateCall } from "../messages.ts";
import { type CallKey, callWord } from "../strings/calls.ts";
import { radio } from "../strings/radio.ts";
import { otherOf } from "../voice/calls.ts";
import { useModel } from "./context.ts";

const ENDS: Record<string, CallKey> = {
  declined: "call_declined",
  unanswered: "call_unanswered",
  busy: "call_busy",
  ended: "call_ended",
  lost: "call_lost",
  overridden: "call_overridden",
};

export function PrivateCalls() {
  const { desk } = useModel();
  const { incoming, current } = desk.talk.calls.value;
  return (
    <div class="calls" aria-live="assertive">
      {incoming && <Incoming call={incoming} />}
      {current && <Current call={current} />}
    </div>
  );
}

function Incoming({ call }: { call: PrivateCall }) {
  const { desk } = useModel();
  return (
    <section
      class="call call-rings"
      role="alertdialog"
      aria-label={callWord("call_incoming")}
      data-call={call.id}
    >
      <Icon name="phone-incoming" size={22} />
      <span>
        <strong>{call.caller.name}</strong>
        <span class="dim">{call.duplex === "full" ? radio("call_full") : radio("call_half")}</span>
      </span>
      <button type="button" class="primary" onClick={() => void desk.answer(call.id, true)}>
        <Icon name="phone" /> {callWord("call_accept")}
      </button>
      <button type="button" class="danger" onClick={() => void desk.answer(call.id, false)}>
        <Icon name="phone-off" /> {callWord("call_decline")}
      </button>
    </section>
  );
}

function Current({ call }: { call: PrivateCall }) {
  const model = useModel();
  const { desk } = model;
  beat.value; // seconds are counted
  const other = otherOf(call, { user: model.initial.user?.id ?? "", unit: "" });
  const seconds = Math.max(0, Math.floor(serverTime() - call.since));
  const words =
    call.state === "active"
      ? callWord(call.duplex === "full" ? "call_on_full" : "call_on_half", { n: seconds })
      : call.state === "ringing"
        ? callWord("call_ringing", { n: seconds })
        : callWord(ENDS[call.cause] ?? "call_ended");
  return (
    <section class="call" aria-label={callWord("call_with", { name: other.name })} data-call={call.id}>
      <Icon name={call.state === "ended" ? "phone-off" : "phone"} size={22} />
      <span>
        <strong>{other.name}</strong>
        <span class="dim num">{words}</span>
      </span>
      {call.state !== "ended" && (
        <button type="button" class="danger" onClick={() => desk.hangUp(call.id)}>
          <Icon name="phone-off" /> {callWord("call_hang_up")}
        </button>
      )}
    </section>
  );
}
