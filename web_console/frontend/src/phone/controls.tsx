/** Four controls above the large key: live, SOS, call-back, state. */
import { useEffect, useState } from "preact/hooks";
import { Icon } from "../icon.tsx";
import { t } from "../strings/phone.ts";
import { say } from "../strings/phone-talk.ts";
import type { LiveState } from "./live.ts";
import type { PhoneModel, Sheet } from "./model.ts";
import { SosButton } from "./sos-button.tsx";

const SURE_MS = 4000;

export function Controls({ model, live }: { model: PhoneModel; live: LiveState }) {
  const toggle = (sheet: Sheet): void => {
    model.sheet.value = model.sheet.peek() === sheet ? "" : sheet;
  };
  const waiting = model.radio.callback.value !== null;
  return (
    <div class="controls">
      <LiveButton model={model} live={live} />
      <SosButton model={model} />
      <button
        type="button"
        data-control="callback"
        aria-expanded={model.sheet.value === "callback"}
        class={waiting ? "waiting" : ""}
        onClick={() => toggle("callback")}
      >
        <Icon name="phone-incoming" size={26} />
        {say("callback")}
      </button>
      <button
        type="button"
        data-control="status"
        aria-expanded={model.sheet.value === "status"}
        onClick={() => toggle("status")}
      >
        <Icon name="activity" size={26} />
        {say("more")}
      </button>
    </div>
  );
}

function LiveButton({ model, live }: { model: PhoneModel; live: LiveState }) {
  const { publisher } = model;
  const [sure, setSure] = useState(false);
  const on = live.kind !== "off";
  useEffect(() => {
    if (!sure) return;
    const timer = setTimeout(() => setSure(false), SURE_MS);
    return () => clearTimeout(timer);
  }, [sure]);
  const press = (): void => {
    if (!on) {
      model.sheet.value = "";
      void publisher.goLive();
    } else if (live.kind !== "live" || sure) {
      setSure(false);
      publisher.stop();
    } else setSure(true);
  };
  return (
    <button
      type="button"
      class={`control-live ${on ? "on" : ""}`}
      aria-pressed={on}
      data-control="live"
      disabled={publisher.capture.busy.value && !on}
      onClick={press}
    >
      <Icon name={on ? "square" : "video"} size={26} />
      {on ? (sure ? t("stop_sure") : t("stop_live")) : t("go_live")}
    </button>
  );
}
