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

export const commonStrings = zh;
export const t = translator("common", zh);

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
  busy: "对方正在通话|请稍后再呼",
  no_path: "本机话音通道没有建立|先开始值班；仍不行检查到媒体端口的网络",
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

type ErrorCode = keyof typeof errorsZh;

export const errorStrings = errorsZh;
const errorText = translator("errors", errorsZh);

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
