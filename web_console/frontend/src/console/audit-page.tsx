/** Who did what: the audit log, newest first, whether its chain of hashes holds, and all of it as a table to take away. */
import "../styles/audit.css";
import { useEffect, useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { serverTime } from "../clock.ts";
import { csvOf } from "../csv.ts";
import { Icon } from "../icon.tsx";
import type { AuditEntry, AuditPage as Page } from "../messages.ts";
import { type AuditKey, actionWords, auditWord, chainProblem } from "../strings/audit.ts";
import { errorWords } from "../strings/common.ts";
import { t } from "../strings/console.ts";
import { clockTime, dateTime } from "../times.ts";
import { ProblemNotice } from "../views/notice.tsx";
import { useModel } from "./context.ts";
import { download } from "./snapshot.ts";

const PAGE = 100;
const EXPORT_STEP = 500;
const EXPORT_MOST = 100_000;

interface Read {
  page: Page;
  at: number;
  /** The `before` of every page from the newest to this one. */
  path: readonly number[];
}

export function AuditPage() {
  const model = useModel();
  const [read, setRead] = useState<Read | null>(null);
  const [problem, setProblem] = useState<{ what: AuditKey; problem: Problem } | null>(null);
  const [exporting, setExporting] = useState<number | null>(null);
  const shown = model.page.value === "/admin/audit";
  const ready = model.link.status.value.phase === "ready";

  const show = async (path: readonly number[]): Promise<void> => {
    const outcome = await model.link.command("audit.read", { before: path.at(-1) ?? 0, limit: PAGE }, "now");
    if (outcome.ok) setRead({ page: outcome.value, at: serverTime(), path });
    setProblem(outcome.ok ? null : { what: "audit_what", problem: outcome.problem });
  };

  // read when the page is turned to, not whenever it is drawn
  useEffect(() => {
    if (shown && ready) void show(read?.path ?? [0]);
  }, [shown, ready]);

  const exportAll = async (): Promise<void> => {
    const entries: AuditEntry[] = [];
    setExporting(0);
    while (entries.length < EXPORT_MOST) {
      const before = entries.at(-1)?.seq ?? 0;
      const outcome = await model.link.command("audit.read", { before, limit: EXPORT_STEP }, "now");
      if (!outcome.ok) {
        setExporting(null);
        setProblem({ what: "audit_export_what", problem: outcome.problem });
        return;
      }
      entries.push(...outcome.value.entries);
      setExporting(entries.length);
      if (outcome.value.entries.length < EXPORT_STEP) break;
    }
    const time = dateTime(serverTime());
    const blob = new Blob([table(entries)], { type: "text/csv;charset=utf-8" });
    download(blob, `audit_${time.replace(/[^\d]+/g, "")}.csv`);
    setExporting(null);
    setProblem(null);
    const whole = entries.length === 0 || entries.at(-1)?.seq === 1;
    model.say(whole ? "audit_exported" : "audit_exported_part", { n: entries.length });
  };

  const entries = read?.page.entries ?? [];
  const path = read?.path ?? [0];
  const last = entries.at(-1)?.seq ?? 0;
  return (
    <div class="page audit" hidden={!shown}>
      <header>
        <h1>{t("nav_audit")}</h1>
        {read && <Chain page={read.page} />}
        {read && <span class="dim num">{auditWord("audit_true_at", { time: clockTime(read.at) })}</span>}
        <span class="spring" />
        <button type="button" onClick={() => void show([0])}>
          <Icon name="refresh-cw" /> {auditWord("audit_refresh")}
        </button>
        <button type="button" disabled={exporting !== null} onClick={() => void exportAll()}>
          <Icon name="download" />{" "}
          {exporting === null ? auditWord("audit_export") : auditWord("audit_exporting", { n: exporting })}
        </button>
      </header>
      {problem && <ProblemNotice what={auditWord(problem.what)} problem={problem.problem} wait={0} />}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard */}
      <section class="audit-table" aria-label={t("nav_audit")} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {COLUMNS.map((key) => (
                <th key={key} scope="col">
                  {auditWord(key)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {entries.map((entry) => (
              <Line key={entry.seq} entry={entry} bad={isBad(read?.page, entry)} />
            ))}
          </tbody>
        </table>
        {read && entries.length === 0 && <p class="dim">{auditWord("audit_none")}</p>}
      </section>
      <footer>
        <button type="button" disabled={path.length < 2} onClick={() => void show(path.slice(0, -1))}>
          <Icon name="chevron-left" /> {auditWord("audit_newer")}
        </button>
        <span class="num dim">{entries.length > 0 && `${entries[0]?.seq} – ${last}`}</span>
        <button type="button" disabled={last <= 1} onClick={() => void show([...path, last])}>
          {auditWord("audit_older")} <Icon name="chevron-right" />
        </button>
      </footer>
    </div>
  );
}

const COLUMNS = [
  "audit_seq",
  "audit_time",
  "audit_actor",
  "audit_action",
  "audit_object",
  "audit_result",
  "audit_address",
  "audit_detail",
] as const satisfies readonly AuditKey[];

const isBad = (page: Page | undefined, entry: AuditEntry): boolean =>
  page !== undefined && !page.verified && entry.seq >= page.firstBad;

function Chain({ page }: { page: Page }) {
  return (
    <span
      class={`with-icon audit-chain tone-${page.verified ? "live" : "fault"}`}
      role={page.verified ? undefined : "alert"}
      data-verified={page.verified}
    >
      <Icon name={page.verified ? "shield-check" : "octagon-alert"} />
      {page.verified
        ? auditWord("audit_intact")
        : auditWord("audit_broken", { n: page.firstBad, problem: chainProblem(page.problem) })}
    </span>
  );
}

function Line({ entry, bad }: { entry: AuditEntry; bad: boolean }) {
  const model = useModel();
  const who = actorWords(entry.actor);
  const object = objectWords(model, entry.object);
  const ok = entry.result === "ok";
  return (
    <tr data-seq={entry.seq} data-bad={bad} class={bad ? "bad" : ""}>
      <td class="num">
        {bad && <Icon name="octagon-alert" size={14} />} {entry.seq}
      </td>
      <td class="num">{dateTime(entry.time)}</td>
      <td title={entry.actor}>
        {who.name} {who.role && <span class="dim">{who.role}</span>}
      </td>
      <td title={entry.action}>{actionWords(entry.action)}</td>
      <td title={entry.object} class="audit-object">
        {object}
      </td>
      <td class={ok ? "" : "tone-fault"} title={entry.result}>
        <span class="with-icon">
          <Icon name={ok ? "check" : "circle-alert"} size={14} />
          {ok ? auditWord("audit_ok") : errorWords(entry.result).reason}
        </span>
      </td>
      <td class="num">{entry.address}</td>
      <td class="audit-detail">{entry.detail}</td>
    </tr>
  );
}

const ROLES: Record<string, () => string> = {
  admin: () => t("role_admin"),
  dispatcher: () => t("role_dispatcher"),
  field: () => t("role_field"),
  device: () => auditWord("actor_device"),
  guest: () => auditWord("actor_guest"),
};

/** "admin:0198…:总值班" */
function actorWords(actor: string): { name: string; role: string } {
  if (actor === "nobody") return { name: auditWord("actor_nobody"), role: "" };
  const [role = "", id = "", ...rest] = actor.split(":");
  if (role === "cli") return { name: id, role: auditWord("actor_operator") };
  const key = ROLES[role];
  return { name: rest.join(":") || id || actor, role: key ? key() : "" };
}

const ID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

/** What an id stands for, as long as it is there; of others the beginning, which is enough to tell them apart. */
function objectWords(model: ReturnType<typeof useModel>, object: string): string {
  const { unit, device, stream, link } = model.world.value;
  if (stream.has(object)) return model.nameOf(object);
  const named = unit.get(object) ?? device.get(object) ?? link.get(object);
  if (named) return named.name;
  if (object === "newest") return auditWord("audit_newest");
  const before = /^before (\d+)$/.exec(object)?.[1];
  if (before) return auditWord("audit_before", { n: before });
  return ID.test(object) ? `${object.slice(0, 8)}… ${object.slice(-6)}` : object;
}

function table(entries: readonly AuditEntry[]): string {
  return csvOf(
    [...COLUMNS, "audit_hash" as const].map((key) => auditWord(key)),
    entries.map((one) => [
      one.seq,
      dateTime(one.time),
      one.actor,
      one.action,
      one.object,
      one.result,
      one.address,
      one.detail,
      one.hash,
    ]),
  );
}
