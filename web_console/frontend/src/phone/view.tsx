/** The phone page: what is true above, the picture or the groups, and below, for the thumb, what one does. */
import { language } from "../language.ts";
import { setLanguage } from "../language-choice.ts";
import { t as common } from "../strings/common.ts";
import { t } from "../strings/phone.ts";
import { AlarmState } from "./alarm-state.tsx";
import { CallBackSheet, CallBackState } from "./callback.tsx";
import { Calls } from "./calls.tsx";
import { ChipLine } from "./chips.tsx";
import { Closed, endOf } from "./closed.tsx";
import { Controls } from "./controls.tsx";
import { GroupBar } from "./group-bar.tsx";
import { Groups } from "./groups.tsx";
import type { PhoneModel } from "./model.ts";
import { Preview } from "./preview.tsx";
import { Problems } from "./problems.tsx";
import { SosCountdown } from "./sos-button.tsx";
import { SoundProblems } from "./sound-problems.tsx";
import { StatusSheet } from "./status-sheet.tsx";
import { SoundSteps } from "./step-row.tsx";
import { TalkButton } from "./talk-button.tsx";

export function Phone({ model }: { model: PhoneModel }) {
  const ended = model.link.status.value.ended;
  const name = model.name.value;
  return (
    <div class="phone-page">
      <header>
        <img src="/static/favicon.svg" width="28" height="28" alt="" />
        <div>
          <strong>{name || t("title")}</strong>
          <span class="dim">{(model.server.value ?? model.initial.server).name}</span>
        </div>
        <button
          type="button"
          class="quiet"
          lang={language.value === "en" ? "zh-CN" : "en"}
          onClick={() => void setLanguage(language.value === "en" ? "zh-CN" : "en")}
        >
          {common("other_language")}
        </button>
      </header>
      {model.nobody ? (
        <Closed of="nobody" />
      ) : ended ? (
        <Closed of={endOf(ended)} />
      ) : model.fence.closed.value ? (
        <Closed of="elsewhere" />
      ) : (
        <Open model={model} />
      )}
    </div>
  );
}

function Open({ model }: { model: PhoneModel }) {
  const live = model.publisher.live.value;
  const sheet = model.sheet.value;
  const status = model.link.status.value;
  const lost = status.everReady && status.phase !== "ready";
  const picture = live.kind !== "off" && sheet === "";
  return (
    <main class={lost ? "lost" : ""}>
      <h1 class="only-read">{t("title")}</h1>
      <ChipLine model={model} />
      <div class="stage">
        <Preview model={model} live={live} covered={!picture} />
        {sheet === "callback" ? (
          <CallBackSheet model={model} />
        ) : sheet === "status" ? (
          <StatusSheet model={model} />
        ) : (
          !picture && <Groups model={model} />
        )}
      </div>
      <div class="notices">
        <Calls model={model} />
        <AlarmState model={model} />
        <SoundSteps model={model} />
        <SoundProblems model={model} />
        <Problems model={model} />
        <CallBackState model={model} />
      </div>
      <Controls model={model} live={live} />
      <GroupBar model={model} />
      <TalkButton model={model} />
      <SosCountdown model={model} />
    </main>
  );
}
