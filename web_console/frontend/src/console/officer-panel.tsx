/** What the officer's menu holds: the language, the theme, keys, logging out. */
import { post } from "../api.ts";
import { Icon } from "../icon.tsx";
import { language } from "../language.ts";
import { setLanguage } from "../language-choice.ts";
import { t as common } from "../strings/common.ts";
import { type ConsoleKey, t } from "../strings/console.ts";
import { setTheme, THEMES, theme } from "../theme.ts";
import { useModel } from "./context.ts";

const ROLES: Record<string, ConsoleKey> = {
  admin: "role_admin",
  dispatcher: "role_dispatcher",
  field: "role_field",
};

const THEME_KEYS = { dark: "theme_dark", light: "theme_light", contrast: "theme_contrast" } as const;

export function OfficerPanel() {
  const model = useModel();
  const user = model.initial.user;
  const role = ROLES[user?.role ?? ""];
  const logOut = async (): Promise<void> => {
    const outcome = await post("/api/logout", {}, model.initial.csrf);
    if (outcome.ok || outcome.problem.code === "not_logged_in") location.assign("/login");
    else model.say("log_out_failed");
  };
  return (
    <>
      <p class="dim">{role ? t(role) : user?.role}</p>
      <div class="menu-field">
        <span>{common("language")}</span>
        <button
          type="button"
          lang={language.value === "en" ? "zh-CN" : "en"}
          onClick={() => void setLanguage(language.value === "en" ? "zh-CN" : "en")}
        >
          <Icon name="languages" /> {common("other_language")}
        </button>
      </div>
      <fieldset class="menu-field">
        <legend>{t("theme")}</legend>
        <span class="segments">
          {THEMES.map((one) => (
            <button type="button" key={one} aria-pressed={theme.value === one} onClick={() => setTheme(one)}>
              {t(THEME_KEYS[one])}
            </button>
          ))}
        </span>
      </fieldset>
      <label class="menu-field">
        <span>{t("single_keys")}</span>
        <input type="checkbox" checked={model.singleKeys.value} onChange={() => model.toggleSingleKeys()} />
      </label>
      <button
        type="button"
        class="quiet"
        onClick={() => {
          model.helpOpen.value = true;
        }}
      >
        <Icon name="keyboard" /> {t("keys_and_legend")} <kbd>?</kbd>
      </button>
      <button type="button" class="quiet" onClick={() => void logOut()}>
        <Icon name="log-out" /> {t("log_out")}
      </button>
    </>
  );
}
