/** The audit log in words: what its codes mean. A code without words is shown as it is. */
import { translator } from "../language.ts";

const zh = {
  "audit.read": "查看审计日志",
  "audit.verify": "校验审计日志",
  "device.add": "添加设备",
  "device.revoke": "撤销设备",
  "device.token": "更换设备凭证",
  "link.create": "生成邀请链接",
  "link.revoke": "撤销邀请链接",
  "link.use": "使用邀请链接",
  login: "登录",
  logout: "退出登录",
  "session.end": "结束登录",
  setup: "初始化",
  "stream.add": "添加视频",
  "stream.close": "结束推送",
  "stream.token": "签发视频令牌",
  "unit.rename": "单位改名",
  "user.add": "添加用户",
  "user.password": "修改密码",
  "user.role": "修改角色",
  "user.disable": "停用用户",
  "user.enable": "启用用户",
  "call.all": "全呼",
  "floor.revoke": "强拆讲话权",
  "group.create": "新建对讲组",
  "group.change": "修改对讲组",
  "group.delete": "解散对讲组",
  "patch.create": "建立跨组互通",
  "patch.change": "修改跨组互通",
  "patch.mute": "互通中静音",
  "patch.end": "结束跨组互通",
  "alarm.raise": "发出紧急告警",
  "alarm.acknowledge": "确认告警",
  "alarm.park": "搁置告警",
  "alarm.resume": "恢复告警",
  "alarm.close": "解除告警",
  "recording.play": "播放录音",
  "recording.search": "检索录音",
  "recording.erase": "删除录音",
  "recording.hold": "录音存证",
  "recording.release": "解除录音存证",
  "recording.export": "导出录音",
} as const;

/** What is wrong with the first bad entry. */
const zhProblems = {
  missing: "这一条被删除",
  unlinked: "与前一条不衔接",
  changed: "写入后被改动",
  cut: "之后的记录被截断",
  damaged: "内容已损坏",
} as const;

// The server's sentence by its beginning.
const PROBLEMS: readonly (readonly [RegExp, keyof typeof zhProblems])[] = [
  [/^missing/, "missing"],
  [/^it does not follow/, "unlinked"],
  [/^it was changed/, "changed"],
  [/^the chain ends here/, "cut"],
  [/^a field has the wrong kind/, "damaged"],
];

const zhPage = {
  audit_what: "读取审计日志",
  audit_export_what: "导出审计日志",
  audit_intact: "链完整",
  audit_broken: "从第 {n} 条起不符：{problem}",
  audit_true_at: "读取于 {time}",
  audit_refresh: "读取最新",
  audit_newer: "较新",
  audit_older: "较早",
  audit_export: "导出 CSV",
  audit_exporting: "已读取 {n} 条…",
  audit_none: "没有记录",
  audit_seq: "序号",
  audit_time: "时间",
  audit_actor: "人员",
  audit_action: "操作",
  audit_object: "对象",
  audit_result: "结果",
  audit_address: "来源地址",
  audit_detail: "说明",
  audit_hash: "校验值",
  audit_ok: "成功",
  audit_newest: "最新记录",
  audit_before: "第 {n} 条之前",
  actor_nobody: "未登录",
  actor_operator: "服务器命令行",
  actor_device: "设备",
  actor_guest: "邀请链接",
} as const;

export type AuditKey = keyof typeof zhPage;
export const auditStrings = zh;
export const auditPageStrings = zhPage;
export const auditProblemStrings = zhProblems;
export const auditWord = translator("auditPage", zhPage);
const action = translator("audit", zh);
const problem = translator("auditProblems", zhProblems);

export function actionWords(code: string): string {
  return code in zh ? action(code as keyof typeof zh) : code;
}

export function chainProblem(sentence: string): string {
  const known = PROBLEMS.find(([begin]) => begin.test(sentence));
  return known ? problem(known[1]) : sentence;
}
