/** Private calls: one that rings here, and the one that goes on. */
import { useState } from "preact/hooks";
import { beat, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { PrivateCall } from "../messages.ts";
import { errorWords } from "../strings/common.ts";
import { type PhoneTalkKey, say } from "../strings/phone-talk.ts";
import { otherOf } from "../voice/calls.ts";
import type { PhoneModel } from "./model.ts";

const ENDS: Record<string, PhoneTalkKey> = {
  declined: "call_declined",
  unanswered: "call_unanswered",
  busy: "call_busy",
  lost: "call_lost",
};

export function Calls({ model }: { model: PhoneModel }) {
  const { incoming, current } = model.radio.talk.calls.value;
  return (
    <div class="calls" aria-live="assertive">
      {incoming && <Incoming key={incoming.id} model={model} call={incoming} />}
      {current && <Current model={model} call={current} />}
    </div>
  );
}

function Incoming({ model, call }: { model: PhoneModel; call: PrivateCall }) {
  const [failed, setFailed] = useState("");
  const [busy, setBusy] = useState(false);
  const { name } = call.caller;
  const answer = async (accept: boolean): Promise<void> => {
    setBusy(true);
    // a phone that was never touched has no microphone yet
    if (accept) await model.radio.begin();
    setFailed(await model.radio.answer(call.id, accept));
    setBusy(false);
  };
  return (
    <section class="call call-rings" role="alertdialog" aria-label={say("call_incoming", { name })}>
      <Icon name="phone-incoming" size={28} />
      <span class="call-words">
        <strong>{say("call_incoming", { name })}</strong>
        <span>{say(call.duplex === "full" ? "call_full" : "call_half")}</span>
        {failed && <span class="problem">{say("call_failed", { reason: errorWords(failed).reason })}</span>}
      </span>
      <button type="button" class="accept" disabled={busy} onClick={() => void answer(true)}>
        <Icon name="phone" size={26} /> {say("call_accept")}
      </button>
      <button type="button" class="decline" disabled={busy} onClick={() => void answer(false)}>
        <Icon name="phone-off" size={26} /> {say("call_decline")}
      </button>
    </section>
  );
}

function Current({ model, call }: { model: PhoneModel; call: PrivateCall }) {
  beat.value; // seconds are counted
  const { name } = otherOf(call, model.self.value);
  const n = Math.max(0, Math.floor(serverTime() - call.since));
  const words =
    call.state === "active"
      ? say(call.duplex === "full" ? "call_on_full" : "call_on_half", { n })
      : call.state === "ringing"
        ? say("call_rings", { n })
        : say(ENDS[call.cause] ?? "call_ended");
  const lost = model.link.status.value.phase !== "ready";
  return (
    <section class={`call call-${call.state} ${lost ? "stale" : ""}`} data-call={call.state}>
      <Icon name={call.state === "ended" ? "phone-off" : "phone"} size={28} />
      <span class="call-words">
        <strong>{name}</strong>
        <span class="num">{words}</span>
      </span>
      {call.state !== "ended" && (
        <button type="button" class="decline" onClick={() => model.radio.hangUp(call.id)}>
          <Icon name="phone-off" size={26} /> {say("call_hang_up")}
        </button>
      )}
    </section>
  );
}
