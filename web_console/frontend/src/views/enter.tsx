/** Set-up and log-in: one calm card. */
import type { ComponentChildren, JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { type Problem, post } from "../api.ts";
import { Icon } from "../icon.tsx";
import type { Initial } from "../initial.ts";
import { language } from "../language.ts";
import { setLanguage } from "../language-choice.ts";
import { DIFFERENT, judge } from "../password.ts";
import { t as common } from "../strings/common.ts";
import { t } from "../strings/enter.ts";
import { ProblemNotice, useCountdown } from "./notice.tsx";

export function Enter({ initial }: { initial: Initial }) {
  return (
    <main class="enter-card">
      <header>
        <img src="/static/favicon.svg" width="44" height="44" alt="" />
        <div>
          <h1>{initial.server.name}</h1>
          <p class="dim">{common("slogan")}</p>
        </div>
        <button
          type="button"
          class="quiet"
          lang={language.value === "en" ? "zh-CN" : "en"}
          onClick={() => void setLanguage(language.value === "en" ? "zh-CN" : "en")}
        >
          <Icon name="languages" /> {common("other_language")}
        </button>
      </header>
      {initial.setUp ? <Login initial={initial} /> : <Setup initial={initial} />}
      <footer class="dim">
        {common("product")} {initial.server.version}
      </footer>
    </main>
  );
}

interface Attempt {
  busy: boolean;
  problem: Problem | null;
  wait: number;
  send: (path: string, body: unknown) => Promise<boolean>;
}

/** Sends once at a time, keeps the last problem and its waiting time. */
function useAttempt(csrf: string): Attempt {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [deadline, setDeadline] = useState(0);
  const wait = useCountdown(deadline);
  const send = async (path: string, body: unknown): Promise<boolean> => {
    setBusy(true);
    const outcome = await post<unknown>(path, body, csrf);
    setBusy(false);
    setProblem(outcome.ok ? null : outcome.problem);
    if (!outcome.ok) setDeadline(performance.now() + outcome.problem.retryAfter * 1000);
    return outcome.ok;
  };
  return { busy, problem, wait, send };
}

function Login({ initial }: { initial: Initial }) {
  const attempt = useAttempt(initial.csrf);
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const first = useRef<HTMLInputElement>(null);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (attempt.busy || attempt.wait > 0) return;
    if (await attempt.send("/api/login", { username: username.trim(), password })) {
      location.replace(initial.next || "/");
    } else {
      setPassword("");
      first.current?.focus();
    }
  };
  return (
    <form onSubmit={submit} onKeyDown={sendOnCtrlEnter}>
      <h2>{t("login_title")}</h2>
      {attempt.problem && (
        <ProblemNotice what={t("login_what")} problem={attempt.problem} wait={attempt.wait} />
      )}
      <Field label={t("username")}>
        {(id) => (
          <input
            id={id}
            name="username"
            ref={first}
            value={username}
            onInput={(event) => setUsername(event.currentTarget.value)}
            autocomplete="username"
            autocapitalize="none"
            spellcheck={false}
            required
            autofocus
          />
        )}
      </Field>
      <PasswordField value={password} onValue={setPassword} autocomplete="current-password" />
      <Submit attempt={attempt} ready={username !== "" && password !== ""} label={t("login_submit")} />
      <p class="dim hint">{t("forgot")}</p>
    </form>
  );
}

const USERNAME = /^[\p{L}\p{N}_.@-]{2,32}$/u;

function Setup({ initial }: { initial: Initial }) {
  const attempt = useAttempt(initial.csrf);
  const [code, setCode] = useState("");
  const [username, setUsername] = useState("");
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const rules = judge(password, username, initial.passwordMinLength);
  const same = password !== "" && password === again;
  const ready =
    code.trim() !== "" &&
    USERNAME.test(username.trim()) &&
    rules.length &&
    rules.notName &&
    rules.varied &&
    rules.notSimple &&
    same;
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!ready || attempt.busy || attempt.wait > 0) return;
    const body = {
      code: code.trim(),
      username: username.trim(),
      name: name.trim() || username.trim(),
      password,
    };
    if (await attempt.send("/api/setup", body)) location.replace("/");
  };
  const bad = attempt.problem?.field ?? "";
  return (
    <form onSubmit={submit} onKeyDown={sendOnCtrlEnter}>
      <h2>{t("setup_title")}</h2>
      <p class="dim">{t("setup_intro")}</p>
      {attempt.problem && (
        <ProblemNotice what={t("setup_what")} problem={attempt.problem} wait={attempt.wait} />
      )}
      <Field label={t("setup_code")} hint={t("setup_code_hint")}>
        {(id, hint) => (
          <input
            id={id}
            name="code"
            class="code"
            value={code}
            onInput={(event) => setCode(event.currentTarget.value)}
            aria-describedby={hint}
            aria-invalid={attempt.problem?.code === "wrong_code" || bad === "code"}
            autocomplete="one-time-code"
            autocapitalize="none"
            spellcheck={false}
            required
            autofocus
          />
        )}
      </Field>
      <div class="two">
        <Field label={t("username")} hint={t("username_hint")}>
          {(id, hint) => (
            <input
              id={id}
              name="username"
              value={username}
              onInput={(event) => setUsername(event.currentTarget.value)}
              aria-describedby={hint}
              aria-invalid={(username !== "" && !USERNAME.test(username.trim())) || bad === "username"}
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              required
            />
          )}
        </Field>
        <Field label={t("display_name")}>
          {(id) => (
            <input
              id={id}
              name="name"
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
              autocomplete="name"
              maxLength={64}
            />
          )}
        </Field>
      </div>
      <PasswordField value={password} onValue={setPassword} autocomplete="new-password" />
      <PasswordField again value={again} onValue={setAgain} autocomplete="new-password" />
      <section class="rules" aria-label={t("rules")}>
        <h3>{t("rules")}</h3>
        <ul>
          <Rule met={rules.length}>{t("rule_length", { n: initial.passwordMinLength })}</Rule>
          <Rule met={rules.notName}>{t("rule_not_name")}</Rule>
          <Rule met={rules.varied}>{t("rule_varied", { n: DIFFERENT })}</Rule>
          <Rule met={rules.notSimple}>{t("rule_not_simple")}</Rule>
          <Rule met={same}>{t("rule_same")}</Rule>
        </ul>
        <p class="dim">{t("rules_server")}</p>
      </section>
      <Submit attempt={attempt} ready={ready} label={t("setup_submit")} />
    </form>
  );
}

function Rule({ met, children }: { met: boolean; children: ComponentChildren }) {
  return (
    <li class={met ? "met" : "open"}>
      <Icon name={met ? "circle-check" : "circle-alert"} />
      <span>{children}</span>
      <span class="only-read">{met ? t("rule_met") : t("rule_open")}</span>
    </li>
  );
}

function Submit({ attempt, ready, label }: { attempt: Attempt; ready: boolean; label: string }) {
  return (
    <button type="submit" class="primary" disabled={!ready || attempt.busy || attempt.wait > 0}>
      {attempt.busy && <Icon name="loader-circle" />}
      {attempt.busy ? t("working") : attempt.wait > 0 ? common("retry_in", { n: attempt.wait }) : label}
    </button>
  );
}

function Field({
  label,
  hint,
  children,
}: {
  label: string;
  hint?: string;
  children: (id: string, hintId: string | undefined) => JSX.Element;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, hint ? `${id}-hint` : undefined)}
      {hint && (
        <p class="dim hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** `again`: a new password is typed twice. */
function PasswordField({
  again = false,
  value,
  onValue,
  autocomplete,
}: {
  again?: boolean;
  value: string;
  onValue: (value: string) => void;
  autocomplete: "current-password" | "new-password";
}) {
  const [shown, setShown] = useState(false);
  const [caps, setCaps] = useState(false);
  return (
    <Field label={t(again ? "password_again" : "password")} {...(caps ? { hint: t("caps_lock") } : {})}>
      {(id, hint) => (
        <div class="with-button">
          <input
            id={id}
            name={again ? "password-again" : "password"}
            {...(shown ? { type: "text" as const } : { type: "password" as const })}
            value={value}
            onInput={(event) => onValue(event.currentTarget.value)}
            onKeyUp={(event) => setCaps(event.getModifierState("CapsLock"))}
            aria-describedby={hint}
            autocomplete={autocomplete}
            required
          />
          <button
            type="button"
            class="quiet"
            aria-pressed={shown}
            aria-label={shown ? t("password_hide") : t("password_show")}
            onClick={() => setShown(!shown)}
          >
            <Icon name={shown ? "eye-off" : "eye"} size={18} />
          </button>
        </div>
      )}
    </Field>
  );
}

function sendOnCtrlEnter(event: KeyboardEvent): void {
  if (event.ctrlKey && event.key === "Enter" && !event.isComposing) {
    (event.currentTarget as HTMLFormElement).requestSubmit();
  }
}
