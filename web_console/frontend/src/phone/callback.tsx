/** Asking to be called back, with one of a few sentences, and what became of it. */
import { useState } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { errorWords } from "../strings/common.ts";
import { type PhoneTalkKey, say } from "../strings/phone-talk.ts";
import { clockTime } from "../times.ts";
import type { PhoneModel } from "./model.ts";

const CHOICES: readonly PhoneTalkKey[] = [
  "callback_phone",
  "callback_help",
  "callback_report",
  "callback_supplies",
];

export function CallBackSheet({ model }: { model: PhoneModel }) {
  const [sending, setSending] = useState(false);
  const [failed, setFailed] = useState("");
  const ready = model.link.status.value.phase === "ready";
  const send = async (text: string): Promise<void> => {
    setSending(true);
    setFailed("");
    const code = await model.radio.askBack(text);
    setSending(false);
    setFailed(code);
    if (!code) model.sheet.value = "";
  };
  const words = failed && errorWords(failed);
  return (
    <section class="sheet" aria-labelledby="callback-title">
      <h2 id="callback-title">{say("callback_title")}</h2>
      <p class="dim" role="status">
        {sending ? (ready ? say("callback_sending") : say("callback_pending")) : say("callback_send")}
      </p>
      {words && (
        <p class="problem" role="alert">
          {say("callback_failed", { reason: words.reason, next: words.next })}
        </p>
      )}
      <div class="choices">
        {CHOICES.map((key) => (
          <button type="button" key={key} disabled={sending} onClick={() => void send(say(key))}>
            {say(key)}
          </button>
        ))}
      </div>
    </section>
  );
}

/** Until somebody has dealt with it. */
export function CallBackState({ model }: { model: PhoneModel }) {
  const asked = model.radio.callback.value;
  if (!asked) return null;
  return (
    <p class="callback-state num" role="status" data-callback={asked.takenBy ? "taken" : "waiting"}>
      <Icon name="phone-incoming" size={18} />
      <span>
        {asked.takenBy
          ? say("callback_taken", { name: asked.takenBy })
          : say("callback_waits", { time: clockTime(asked.at) })}
        {asked.text && ` · ${asked.text}`}
        {asked.times > 1 && ` · ${say("callback_times", { n: asked.times })}`}
      </span>
    </p>
  );
}
