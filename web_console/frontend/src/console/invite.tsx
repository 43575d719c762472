/** Inviting a phone: name and time in, QR code and link out; and the list of links that are valid. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Problem } from "../api.ts";
import { serverTime } from "../clock.ts";
import { copy } from "../copy.ts";
import { Icon } from "../icon.tsx";
import type { JoinLink, LinkCreated } from "../messages.ts";
import { t } from "../strings/console.ts";
import { shortTime } from "../times.ts";
import { ProblemNotice, useCountdown } from "../views/notice.tsx";
import { useModel } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { NumberChoice } from "./number-choice.tsx";

const HOURS = [1, 4, 12, 24, 72, 168];

export function Invite() {
  const model = useModel();
  const [made, setMade] = useState<LinkCreated | null>(null);
  return (
    <Dialog
      title={t("invite")}
      close={() => {
        model.inviteOpen.value = false;
      }}
    >
      {made ? <Made made={made} another={() => setMade(null)} /> : <Form made={setMade} />}
      <Links />
    </Dialog>
  );
}

function Form({ made }: { made: (made: LinkCreated) => void }) {
  const model = useModel();
  const { joinLinkHours, maxJoinLinkHours } = model.initial;
  const [name, setName] = useState("");
  const [hours, setHours] = useState(joinLinkHours);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [deadline, setDeadline] = useState(0);
  const wait = useCountdown(deadline);
  const choices = [...new Set([...HOURS, joinLinkHours])]
    .filter((one) => one <= maxJoinLinkHours)
    .sort((a, b) => a - b);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy || wait > 0 || !name.trim()) return;
    setBusy(true);
    const outcome = await model.link.command("link.create", { name: name.trim(), hours, unit: "" }, "once");
    setBusy(false);
    if (outcome.ok) {
      made(outcome.value);
      return;
    }
    setProblem(outcome.problem);
    setDeadline(performance.now() + outcome.problem.retryAfter * 1000);
  };
  return (
    <form class="invite-form" onSubmit={submit}>
      <p class="dim">{t("invite_intro")}</p>
      {problem && <ProblemNotice what={t("invite_what")} problem={problem} wait={wait} />}
      <div class="field">
        <label for="invite-name">{t("invite_name")}</label>
        <input
          id="invite-name"
          value={name}
          maxLength={64}
          placeholder={t("invite_name_hint")}
          onInput={(event) => setName(event.currentTarget.value)}
          required
          autofocus
        />
      </div>
      <NumberChoice
        id="invite-hours"
        label={t("invite_hours")}
        value={hours}
        of={choices}
        say={(n) => t("hours", { n })}
        change={setHours}
      />
      <button type="submit" class="primary" disabled={busy || wait > 0 || !name.trim()}>
        <Icon name={busy ? "loader-circle" : "qr-code"} /> {t("invite_create")}
      </button>
    </form>
  );
}

function Made({ made, another }: { made: LinkCreated; another: () => void }) {
  const model = useModel();
  return (
    <div class="invite-made">
      <QrCode svg={made.qrSvg} />
      <div>
        <h3>{made.link.name}</h3>
        <p>{t("invite_scan")}</p>
        <p class="dim">{t("link_expires", { time: shortTime(made.link.expires) })}</p>
        <input
          class="link-text"
          aria-label={t("invite_link")}
          readOnly
          value={made.url}
          onFocus={(event) => event.currentTarget.select()}
        />
        <p class="buttons">
          <button
            type="button"
            class="primary"
            onClick={async () => model.say((await copy(made.url)) ? "copied" : "copy_failed")}
          >
            <Icon name="copy" /> {t("invite_copy")}
          </button>
          <button type="button" onClick={another}>
            <Icon name="plus" /> {t("invite_another")}
          </button>
        </p>
        <p class="dim hint">{t("invite_once")}</p>
      </div>
    </div>
  );
}

/** Elements and attributes that a QR code's drawing needs; nothing else of the server's SVG is taken over. */
const DRAWN: Record<string, readonly string[]> = {
  svg: ["viewBox", "width", "height"],
  g: ["transform", "fill", "stroke"],
  path: ["d", "transform", "fill", "stroke", "stroke-width"],
  rect: ["x", "y", "width", "height", "fill"],
};

function QrCode({ svg }: { svg: string }) {
  const holder = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const drawing = drawn(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement);
    if (!drawing) return;
    if (!drawing.hasAttribute("viewBox")) {
      drawing.setAttribute(
        "viewBox",
        `0 0 ${parseFloat(drawing.getAttribute("width") ?? "0")} ${parseFloat(drawing.getAttribute("height") ?? "0")}`,
      );
    }
    holder.current?.replaceChildren(drawing);
  }, [svg]);
  return <div class="qr" ref={holder} role="img" aria-label={t("invite_scan")} />;
}

function drawn(source: Element): Element | null {
  const allowed = DRAWN[source.localName];
  if (!allowed) return null;
  const copied = document.createElementNS("http://www.w3.org/2000/svg", source.localName);
  for (const name of allowed) {
    const value = source.getAttribute(name);
    if (value !== null) copied.setAttribute(name, value);
  }
  for (const child of source.children) {
    const inner = drawn(child);
    if (inner) copied.append(inner);
  }
  return copied;
}

function Links() {
  const model = useModel();
  const links = [...model.world.value.link.values()]
    .filter((link) => !link.revoked && link.expires > serverTime())
    .sort((a, b) => b.created - a.created);
  return (
    <section class="links">
      <h3>{t("links")}</h3>
      {links.length === 0 && <p class="dim">{t("links_none")}</p>}
      <ul>
        {links.map((link) => (
          <LinkLine key={link.id} link={link} />
        ))}
      </ul>
    </section>
  );
}

function LinkLine({ link }: { link: JoinLink }) {
  const model = useModel();
  const [sure, setSure] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const revoke = async (): Promise<void> => {
    if (!sure) {
      setSure(true);
      return;
    }
    const outcome = await model.link.command("link.revoke", { link: link.id }, "resend");
    setSure(false);
    setProblem(outcome.ok ? null : outcome.problem);
  };
  return (
    <li>
      <span class="link-name">{link.name}</span>
      <span class="dim num">{t("link_expires", { time: shortTime(link.expires) })}</span>
      <span class="dim num">
        {link.used === null ? t("link_unused") : t("link_used", { time: shortTime(link.used) })}
      </span>
      <button
        type="button"
        class={sure ? "danger" : ""}
        onClick={() => void revoke()}
        onBlur={() => setSure(false)}
      >
        {sure ? t("link_revoke_sure") : t("link_revoke")}
      </button>
      {problem && <ProblemNotice what={t("revoke_what")} problem={problem} wait={0} />}
    </li>
  );
}
