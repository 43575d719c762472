/** The frame of every dispatcher's page: top bar, rail, the page, and what lies over all of it. */
import { useEffect } from "preact/hooks";
import { beat, now, serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { IconName } from "../icon-names.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { clockTime, date } from "../times.ts";
import { levelName } from "../views/level.ts";
import { ModelContext, useModel } from "./context.ts";
import { DutyBar } from "./duty-bar.tsx";
import { later } from "./lazy.tsx";
import { Menu } from "./menu.tsx";
import { type ConsoleModel, PAGES, type Page } from "./model.ts";
import { TalkBar } from "./talk-bar.tsx";

const HealthPage = later(async () => (await import("./health-page.tsx")).HealthPage);
const wall = () => import("./wall-page.tsx");
const side = () => import("./side-panel.tsx");
for (const part of [wall, side]) void part().catch(() => undefined); // of the first screen: fetched at once
const WallPage = later(async () => (await wall()).WallPage);
const SidePanel = later(async () => (await side()).SidePanel);
const AuditPage = later(async () => (await import("./audit-page.tsx")).AuditPage);
const DeedDialog = later(async () => (await import("./deeds.tsx")).DeedDialog);
const PrivateCalls = later(async () => (await import("./calls.tsx")).PrivateCalls);
const UndoOffer = later(async () => (await import("./undo.tsx")).UndoOffer);
const RadioPage = later(async () => (await import("./radio-page.tsx")).RadioPage);
const Boxes = later(async () => (await import("./boxes.tsx")).Boxes);
const OfficerPanel = later(async () => (await import("./officer-panel.tsx")).OfficerPanel);
const Help = later(async () => (await import("./help.tsx")).Help);
const Invite = later(async () => (await import("./invite.tsx")).Invite);

export function Console({ model }: { model: ConsoleModel }) {
  const status = model.link.status.value;
  const stale = status.everReady && status.phase !== "ready";
  const page = RAIL.find((one) => one.page === model.page.value);
  const title = `${page ? t(page.key) : ""} · ${model.initial.server.name}`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <ModelContext.Provider value={model}>
      <a class="skip" href="#main">
        {t("skip_to_main")}
      </a>
      <TopBar />
      <div class="bars">
        {stale && <LostBanner />}
        <DutyBar />
      </div>
      <div class={`below ${stale ? "stale" : ""}`}>
        <Rail />
        <main id="main" tabIndex={-1}>
          {status.ended ? <Ended reason={status.ended} /> : !status.everReady && <Starting />}
          <WallPage />
          {model.page.value === "/radio" && <RadioPage />}
          {model.page.value === "/health" && <HealthPage />}
          {model.page.value === "/admin/audit" && model.may("audit.read") && <AuditPage />}
        </main>
        <SidePanel />
      </div>
      <TalkBar />
      <Calls />
      {model.desk.undo.value && <UndoOffer />}
      {model.typed.value && (
        <p class="typed" role="status">
          {t("number_typed", { n: model.typed.value })}
        </p>
      )}
      <Said />
      {model.desk.box.value && <Boxes />}
      {model.helpOpen.value && <Help />}
      {model.inviteOpen.value && <Invite />}
      <DeedDialog />
    </ModelContext.Provider>
  );
}

function Said() {
  const model = useModel();
  const { text, until } = model.said.value;
  const shown = text !== "" && beat.value < until;
  return (
    <p class={`said ${shown ? "" : "only-read"}`} role="status" aria-live="polite">
      {shown ? text : ""}
    </p>
  );
}

function Starting() {
  return (
    <p class="starting" role="status">
      <Icon name="loader-circle" size={20} /> {t("starting")}
    </p>
  );
}

function LostBanner() {
  const model = useModel();
  const status = model.link.status.value;
  beat.value; // seconds are counted
  const seconds = Math.max(0, Math.floor(now() - status.heard));
  return (
    <div class="lost" role="alert" aria-live="off">
      <Icon name="unplug" size={20} />
      <strong class="num">{t("lost_title", { n: seconds })}</strong>
      <span class="num">
        {status.retryIn > 0 ? t("lost_retry_in", { n: status.retryIn }) : t("lost_retrying")}
      </span>
      {status.unanswered > 0 && <span class="num">{t("lost_queued", { n: status.unanswered })}</span>}
    </div>
  );
}

const ENDS: Record<string, ConsoleKey> = {
  logged_out: "ended_logged_out",
  not_logged_in: "ended_not_logged_in",
  revoked: "ended_revoked",
  expired: "ended_expired",
  schema: "ended_schema",
};

function Ended({ reason }: { reason: string }) {
  return (
    <div class="ended" role="alertdialog" aria-label={t("ended_title")}>
      <h2>{t("ended_title")}</h2>
      <p>{t(ENDS[reason] ?? "ended_not_logged_in")}</p>
      <button
        type="button"
        class="primary"
        autofocus
        onClick={() => {
          if (reason === "schema") location.reload();
          else location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
        }}
      >
        {reason === "schema" ? t("reload") : t("log_in_again")}
      </button>
    </div>
  );
}

function TopBar() {
  const model = useModel();
  const server = model.server.value;
  const { name, level } = server ?? model.initial.server;
  beat.value; // the clock goes
  const time = serverTime();
  return (
    <header class={`top ${server?.drill ? "drill" : ""}`}>
      <img src="/static/favicon.svg" width="28" height="28" alt="" />
      <strong class="place">
        {levelName(level) && <span class="level">{levelName(level)}</span>}
        {name}
      </strong>
      {server?.drill && <span class="drill-mark">{t("drill")}</span>}
      <span class="spring" />
      <LinkChips />
      <time class="clock num">
        <span class="dim">{date(time)}</span> {clockTime(time)}
      </time>
      <OfficerMenu />
    </header>
  );
}

function LinkChips() {
  const model = useModel();
  const status = model.link.status.value;
  // without the server nothing is known, of media neither: what was said last must not look like now
  const lost: ChipState | null =
    status.phase !== "ready" && (status.everReady || status.ended)
      ? {
          words: "link_lost",
          tone: "gone",
          icon: "unplug",
          since: clockTime(serverTime() - (now() - status.heard)),
        }
      : null;
  const server: ChipState =
    lost ??
    (status.phase === "ready"
      ? { words: "link_ok", tone: "live", icon: "circle-check" }
      : { words: "link_connecting", tone: "wait", icon: "hourglass" });
  const media = lost ?? MEDIA[model.media.peer.phase.value] ?? MEDIA.off;
  const trip = model.media.roundTrip.value;
  return (
    <div class="links-state">
      <Chip name={t("link_server")} state={server} id="server" />
      {media && (
        <Chip
          name={t("link_media")}
          state={media}
          id="media"
          {...(trip === null || lost ? {} : { title: t("round_trip", { n: Math.round(trip * 1000) }) })}
        />
      )}
    </div>
  );
}

interface ChipState {
  words: ConsoleKey;
  tone: string;
  icon: IconName;
  /** Time of day at which it was last true, where it is a past. */
  since?: string;
}

const MEDIA: Record<string, ChipState> = {
  off: { words: "link_idle", tone: "stale", icon: "circle-dashed" },
  joining: { words: "link_connecting", tone: "wait", icon: "hourglass" },
  waiting: { words: "link_connecting", tone: "wait", icon: "hourglass" },
  up: { words: "link_ok", tone: "live", icon: "circle-check" },
  shaky: { words: "link_restoring", tone: "late", icon: "triangle-alert" },
  restarting: { words: "link_restoring", tone: "late", icon: "triangle-alert" },
};

function Chip({ name, state, id, title }: { name: string; state: ChipState; id: string; title?: string }) {
  return (
    <span class={`link-chip tone-${state.tone}`} data-link={id} data-words={state.words} title={title}>
      <span class="dim">{name}</span>
      <Icon name={state.icon} size={14} />
      {state.since ? t("link_since", { state: t(state.words), time: state.since }) : t(state.words)}
    </span>
  );
}

/** Fetched with the first call: nothing shows while there is none. */
function Calls() {
  const { incoming, current } = useModel().desk.talk.calls.value;
  return incoming || current ? <PrivateCalls /> : null;
}

function OfficerMenu() {
  const name = useModel().initial.user?.name ?? "";
  return (
    <Menu
      side="right"
      name={t("menu_officer", { name })}
      label={
        <>
          <Icon name="circle-user-round" size={18} /> {name}
        </>
      }
    >
      <OfficerPanel />
    </Menu>
  );
}

const RAIL: readonly { page: Page; key: ConsoleKey; icon: IconName; keys: string }[] = [
  { page: "/wall", key: "nav_wall", icon: "layout-grid", keys: "G W" },
  { page: "/radio", key: "nav_radio", icon: "radio", keys: "G R" },
  { page: "/health", key: "nav_health", icon: "activity", keys: "G H" },
  { page: "/admin/audit", key: "nav_audit", icon: "scroll-text", keys: "G A" },
];

function Rail() {
  const model = useModel();
  return (
    <nav class="rail" aria-label={t("nav")}>
      {RAIL.filter(({ page }) => model.may(PAGES[page])).map(({ page, key, icon, keys }) => (
        <a
          key={page}
          href={page}
          title={`${t(key)} (${keys})`}
          aria-current={model.page.value === page ? "page" : undefined}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            model.go(page);
          }}
        >
          <Icon name={icon} size={20} />
          <span>{t(key)}</span>
        </a>
      ))}
    </nav>
  );
}
