/** Words of talking by radio, for console and phone page: what a group's card says, and why there is no floor. */
import { translator } from "../language.ts";

const zh = {
  talk_selected: "选中",
  talk_requesting: "申请中",
  talk_queued: "排队 {n}/{size}",
  talk_transmitting: "发话",
  talk_left: "剩 {n} 秒",
  talk_receiving: "{name}",
  talk_ending: "即将结束",
  talk_hang: "可续讲 {n} 秒",
  talk_collision: "电台同时在讲",
  talk_muted: "静音",
  talk_not_listening: "未收听",
  talk_patch_muted: "暂离互通",
  talk_emergency: "紧急",
  talk_lost: "失联",
  talk_lost_since: "失联 · {time} 起",
  talk_idle: "空闲",
  talk_unknown_talker: "未知用户",
  urgency_peril: "险情",
  urgency_all_call: "全呼",
  urgency_emergency: "紧急呼叫",
} as const;

export const talkStrings = zh;
export const talk = translator("talk", zh);

/** For each cause of a refusal (PROTOCOL.md, Talk groups) and each that only the page knows: brief, sentence, next step. */
const causesZh = {
  busy: "占用|别人正在讲话，这个组不排队。|等对方讲完再按。",
  queue_full: "排队已满|等候讲话的人已满。|稍后再按；险情请用紧急呼叫。",
  queue_timeout: "排队超时|等候太久，申请已取消。|松开后再按一次重新申请。",
  receive_only: "只能收听|你在这个组里只有收听权。|需要讲话请组管理员开放讲话权。",
  no_member: "不在组内|没有收听这个组，或不是它的成员。|先选中这个组；仍不行请组管理员加入成员。",
  no_path:
    "话音未通|本机到服务器的话音通道没有建立，讲了也没有人听到。|请先开始值班；仍不行检查到媒体端口的网络。",
  key_held: "请先松开|讲话权被收回后还没有松开按键。|松开后再按。",
  talk_limit: "讲话超时|一次讲话的时间已满，话权已自动收回。|松开后再按可以接着讲。",
  pre_empted: "被强插|优先级更高的人接过了讲话权。|等对方讲完再按。",
  all_call: "正在全呼|全呼期间只接通紧急呼叫。|全呼结束后再按。",
  collision: "电台占用|电台正在讲话，电台的载波无法拒绝。|等电台讲完再按。",
  forced: "被强拆|值班员收回了讲话权。|松开后再按，或联系值班员。",
  lost: "信号丢失|超过 1 秒没有收到本机的声音，话权已释放。|检查网络后松开再按。",
  ended: "已结束|这个组、互通或呼叫已经结束。|请另选一个组。",
  no_permission: "无讲话权|在这里讲话的权限已被取消。|请联系管理员。",
  media_away: "媒体重启中|媒体服务正在启动。|数秒后再按。",
  blur: "窗口失焦|切换到了别的窗口，话筒已关闭。|回到本页后重新按住讲话。",
  hidden: "页面被遮挡|页面不可见，话筒已关闭。|回到本页后重新按住讲话。",
  offline: "服务器失联|与服务器失去联系，话筒已关闭。|恢复连接后重新按住讲话。",
  device: "话筒变化|话筒被拔出或更换，已停止讲话。|检查话筒后重新按住讲话。",
  no_microphone: "没有话筒|话筒没有打开，讲了也没有人听到。|允许使用话筒，或接上话筒后再按。",
  emergency: "紧急优先|紧急告警接过了话筒。|告警讲完后再按。",
  no_answer: "服务器未应答|服务器没有及时应答，话筒已关闭。|松开后再按一次。",
  no_group: "未选组|还没有选择对讲组。|点组卡片，或按数字键 1–9 选择。",
  no_shift: "未开始值班|声音和话筒还没有启用。|请先点“开始值班”。",
  forbidden: "无权限|当前账号不能在这里讲话。|请管理员授权。",
} as const;

type TalkCause = keyof typeof causesZh;

export const talkCauseStrings = causesZh;
const lookup = translator("talkCauses", causesZh);

/** Words for a cause; an unknown code of a newer server stands for itself. */
export function talkCause(code: string): { brief: string; sentence: string; next: string } {
  if (!(code in causesZh)) return { brief: code, sentence: code, next: "" };
  const [brief = "", sentence = "", next = ""] = lookup(code as TalkCause).split("|");
  return { brief, sentence, next };
}
