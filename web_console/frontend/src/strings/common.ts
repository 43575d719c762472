/** Words that every page needs: the frame around them, errors, and why there is no picture. */
import { translator } from "../language.ts";

const zh = {
  language: "语言",
  other_language: "English",
  product: "烽燧",
  slogan: "应急指挥通信与视频调度",
  level_province: "省级",
  level_city: "市级",
  level_county: "县级",
  level_township: "乡镇",
  level_vehicle: "指挥车",
  close: "关闭",
  what_failed: "{what}失败",
  next_step: "处置：{step}",
  retry_in: "{n} 秒后可重试",
} as const;

const en: Record<keyof typeof zh, string> = {
  language: "Language",
  other_language: "中文",
  product: "Fengsui",
  slogan: "Emergency command: communications and video dispatch",
  level_province: "Province",
  level_city: "City",
  level_county: "County",
  level_township: "Township",
  level_vehicle: "Command vehicle",
  close: "Close",
  what_failed: "{what} failed",
  next_step: "Next: {step}",
  retry_in: "Try again in {n} s",
};

export const commonStrings = { zh, en };
export const t = translator(zh, en);

/** Error codes of the server, and those that only the page itself can know (`offline`, `unknown_outcome`). */
const errorsZh = {
  not_logged_in: "登录已失效|请重新登录",
  forbidden: "当前账号无此权限|请由管理员授权或换用有权限的账号",
  bad_request: "提交的内容不正确|按提示修改后重新提交",
  bad_sdp: "浏览器的媒体协商未被服务器接受|刷新页面；仍不行请换用新版 Chrome、Edge 或 Firefox",
  too_large: "提交的内容过大|减少内容后重试",
  not_found: "对象已不存在|列表已更新，请重新选择",
  conflict: "与当前状态冲突|请查看最新状态后再操作",
  stream_not_live: "该视频未在推送|等待设备恢复后会自动显示",
  codec: "双方没有共同的编码格式|在设备上改用 H.264 或 VP8",
  address_not_admitted: "该地址不在允许的网段内|请管理员在配置中放行该网段",
  too_many: "操作过于频繁，已被限制|请稍候再试",
  overloaded: "服务器繁忙|请稍候再试",
  unavailable: "服务器的某一部分暂不可用|稍候自动恢复；持续出现请查看运行监测",
  media_away: "媒体服务正在重启|数秒后自动恢复",
  storage_away: "数据库暂不可用|请检查磁盘空间与数据库",
  internal: "服务器内部错误|请重试；再次出现请把诊断信息交给管理员",
  unknown_command: "服务器不认识此操作|刷新页面以更新版本",
  expired: "已过期|请重新获取",
  revoked: "已被撤销|请联系值班员重新发放",
  not_set_up: "系统尚未初始化|请先打开 /setup 完成初始化",
  already_set_up: "系统已完成初始化|请直接登录",
  wrong_code: "初始化码不正确或已失效|查看服务器启动时打印的一次性初始化码；重启服务可换新码",
  wrong_credentials: "用户名或密码不正确|检查大小写与输入法后重试",
  weak_password: "密码不符合要求|请按下列要求重新设置",
  offline: "无法连接服务器|检查网络；服务器恢复后可立即重试",
  unknown_outcome: "连接中断，不知是否已执行|请先核对结果，再决定是否重做",
} as const;

export type ErrorCode = keyof typeof errorsZh;

const errorsEn: Record<ErrorCode, string> = {
  not_logged_in: "Your log-in is no longer valid|Log in again",
  forbidden: "This account may not do that|Ask an administrator for the right, or use another account",
  bad_request: "What was sent is not correct|Change it as shown and send it again",
  bad_sdp:
    "The server did not accept this browser's media offer|Reload the page; if that does not help use a recent Chrome, Edge or Firefox",
  too_large: "Too much was sent|Send less and try again",
  not_found: "It no longer exists|The list is up to date now: choose again",
  conflict: "It does not fit the present state|Look at the present state, then decide",
  stream_not_live: "This video is not being sent|It appears by itself when the device is back",
  codec: "No codec in common|Set the device to H.264 or VP8",
  address_not_admitted:
    "The address is in no admitted network|Have the network admitted in the configuration",
  too_many: "Too many attempts|Wait a little, then try again",
  overloaded: "The server is busy|Wait a little, then try again",
  unavailable: "Part of the server is not available|It comes back by itself; if not, look at Health",
  media_away: "The media service is restarting|It is back in a few seconds",
  storage_away: "The database is not available|Check disk space and the database",
  internal:
    "The server made an error|Try again; if it happens again, give the diagnostics to an administrator",
  unknown_command: "The server does not know this action|Reload the page to get its present version",
  expired: "It has expired|Get a new one",
  revoked: "It was revoked|Ask the duty officer for a new one",
  not_set_up: "The system is not set up yet|Open /setup first",
  already_set_up: "The system is already set up|Log in",
  wrong_code:
    "The set-up code is wrong or no longer valid|Look at the one-time code that the server printed at its start; a restart makes a new one",
  wrong_credentials: "User name or password is wrong|Check capitals and input method, then try again",
  weak_password: "The password does not meet the rules|Choose another by the rules below",
  offline: "The server cannot be reached|Check the network; try again when it is back",
  unknown_outcome:
    "The connection broke; it is not known whether it was done|Check first, then decide whether to repeat it",
};

export const errorStrings = { zh: errorsZh, en: errorsEn };
const errorText = translator(errorsZh, errorsEn);

/** What failed and what to do about it; a code of a newer server is told as an internal error with its name. */
export function errorWords(code: string): { reason: string; next: string } {
  const known =
    code in errorsZh
      ? (code as ErrorCode)
      : code.startsWith("sdp_")
        ? ("bad_sdp" as const)
        : ("internal" as const);
  const [reason = "", next = ""] = errorText(known).split("|");
  return { reason: known === code ? reason : `${reason} (${code})`, next };
}
