//! A statement for people and for other programs: text, CSV and HTML, the same totals in all.

use chrono::{Days, NaiveDate};

use super::statement::Statement;
use crate::engine::types::text::Language;

/// Characters with which a spreadsheet begins a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// One row of a statement, whatever it is printed as: line, class, arithmetic, amount.
fn rows(statement: &Statement, language: Language) -> Vec<[String; 4]> {
    let mut rows: Vec<[String; 4]> = statement
        .lines
        .iter()
        .map(|line| {
            let because = line.working.as_ref().map(|working| working.text(language));
            let because = because.unwrap_or_else(|| line.because.clone());
            [line.id.clone(), line.class.clone(), because, line.amount.to_string()]
        })
        .collect();
    for correction in &statement.corrections {
        let what = match language {
            Language::Chinese => format!("更正 {}", correction.period),
            Language::English => format!("correction of {}", correction.period),
        };
        let class = "correction".to_owned();
        rows.push([correction.line.clone(), class, what, correction.amount.to_string()]);
    }
    rows
}

fn say(language: Language, chinese: &'static str, english: &'static str) -> &'static str {
    match language {
        Language::Chinese => chinese,
        Language::English => english,
    }
}

fn title(statement: &Statement, language: Language) -> String {
    let state = match statement.closed_at {
        Some(at) => format!("{} {at}", say(language, "结账于", "closed")),
        None => say(language, "草稿", "draft").to_owned(),
    };
    let Statement { period, plan, .. } = statement;
    let head = say(language, "账单", "Statement");
    // Days of the plan's own calendar: its first day names a period.
    let first = period.id.parse::<NaiveDate>().ok();
    let last = first.and_then(|first| {
        first.checked_add_days(Days::new(u64::from(period.days.saturating_sub(1))))
    });
    let last = last.map_or_else(|| period.end.to_string(), |last| last.to_string());
    format!("{head} · {plan} · {} – {last} · {state}", period.id)
}

/// Head, rows and total for a terminal; `table` lays columns out.
pub fn text(
    statement: &Statement,
    language: Language,
    table: impl Fn(&[&str], &[Vec<String>]) -> String,
) -> String {
    let mut cells: Vec<Vec<String>> = rows(statement, language)
        .into_iter()
        .map(|[line, _, because, amount]| vec![line, amount, because])
        .collect();
    let total = say(language, "合计", "total").to_owned();
    cells.push(vec![total, statement.total.to_string(), statement.currency.clone()]);
    let head = [
        say(language, "项目", "line"),
        say(language, "金额", "amount"),
        say(language, "依据", "because"),
    ];
    let mut text = format!("{}\n{}", title(statement, language), table(&head, &cells));
    for used in &statement.utilisation {
        let (used_up, unused) = (used.used.normalize(), used.unused().normalize());
        let paid = used.paid.normalize();
        let told = match language {
            Language::Chinese => {
                format!("{}：已付 {paid}，已用 {used_up}，未用 {unused}\n", used.line)
            }
            Language::English => {
                format!("{}: {used_up} of {paid} used, {unused} paid and unused\n", used.line)
            }
        };
        text.push_str(&told);
    }
    text
}

/// RFC 4180, columns named as FOCUS names them. No cell begins a formula: a text that would has an
/// apostrophe before it; amounts are numbers and keep their sign.
pub fn csv(statement: &Statement, language: Language) -> String {
    let mut csv = "BillingPeriodStart,BillingPeriodEnd,BillingAccountId,ChargeId,ChargeClass,ChargeDescription,BilledCost,BillingCurrency\r\n".to_owned();
    let Statement { period, plan, currency, .. } = statement;
    for [line, class, because, amount] in rows(statement, language) {
        let texts =
            [period.start.to_string(), period.end.to_string(), plan.clone(), line, class, because];
        for text in &texts {
            csv.push_str(&cell(text));
            csv.push(',');
        }
        csv.push_str(&format!("{amount},{}\r\n", cell(currency)));
    }
    csv
}

fn cell(text: &str) -> String {
    let safe = if text.starts_with(FORMULA) { format!("'{text}") } else { text.to_owned() };
    if safe.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

/// One page, for print or PDF.
pub fn html(statement: &Statement, language: Language) -> String {
    let lang = say(language, "zh-CN", "en");
    let title = escape(&title(statement, language));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"{lang}\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>\
         @page {{ size: A4; margin: 20mm }} body {{ font: 11pt/1.5 sans-serif }} \
         table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: 4px 8px; border-bottom: 1px solid #ccc }} \
         td.amount, th.amount {{ text-align: right; font-variant-numeric: tabular-nums }} tr {{ break-inside: avoid }}\
         </style></head>\n<body><h1>{title}</h1>\n<table><thead><tr><th>{}</th><th>{}</th><th class=\"amount\">{}</th></tr></thead><tbody>\n",
        say(language, "项目", "Line"),
        say(language, "依据", "Because"),
        say(language, "金额", "Amount"),
    );
    for [line, _, because, amount] in rows(statement, language) {
        page.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td class=\"amount\">{}</td></tr>\n",
            escape(&line),
            escape(&because),
            escape(&amount)
        ));
    }
    let total = say(language, "合计", "Total");
    let (amount, currency) = (statement.total, escape(&statement.currency));
    page.push_str(&format!(
        "</tbody><tfoot><tr><th>{total}</th><th></th><th class=\"amount\">{amount} {currency}</th></tr></tfoot></table></body></html>\n"
    ));
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
