//! What the operators' files say of money: the plan in force, budgets, quantities that nobody meters.

use std::ops::Range;

use rust_decimal::Decimal;

use crate::engine::guard::{self, Budget};
use crate::engine::rating::{self, ActivePlan, Plan, Usage};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, Table, read_document};

/// Collected while the files are read.
#[derive(Default)]
pub(super) struct Money {
    plan: Option<Plan>,
    told: Usage,
    budgets: Vec<Budget>,
    /// Index of the file and place of each budget's id.
    places: Vec<(usize, Range<usize>)>,
}

/// True for a price plan: it has a `[plan]` table, and rule files have none.
pub fn is_plan(source: &Source) -> bool {
    source.text.lines().any(|line| line.trim() == "[plan]")
}

impl Money {
    /// Reads the plan in force; there is one.
    pub fn read_plan(&mut self, place: Place<'_>) {
        let Some(plan) = read_document(place, rating::read_plan) else { return };
        if let Some(first) = &self.plan {
            let head = place.source.text.find("[plan]").unwrap_or(0);
            let message = format!("a second price plan: `{}` is in force", first.id);
            let hint = "one plan is in force; others are for `bill compare`, outside of the rules";
            place.error(head..head + "[plan]".len(), "duplicate-id", message, hint);
        }
        self.plan = Some(plan);
    }

    /// Reads `[[budget]]` and `[quantities]` of the file at `index`.
    pub fn read(&mut self, table: &Table<'_>, index: usize) {
        for (id, budget) in guard::read_budgets(table) {
            if self.budgets.iter().any(|known| known.id == budget.id) {
                let message = format!("budget `{}` is there twice", budget.id);
                let hint = "ids are unique over all files";
                table.place().error(id.span.clone(), "duplicate-id", message, hint);
            }
            self.places.push((index, id.span));
            self.budgets.push(budget);
        }
        table.table("quantities", |entry| {
            for (name, value) in entry.entries() {
                let quantity = value.read::<Decimal>();
                if quantity.is_some_and(|quantity| quantity < Decimal::ZERO) {
                    let message = format!("`quantities.{}` must not be negative", name.value);
                    entry.place().error(
                        value.span(),
                        "out-of-range",
                        message,
                        "for example \"12\"",
                    );
                }
                self.told.set(&name.value, quantity.unwrap_or_default());
            }
            Some(())
        });
    }

    /// The plan in force and the budgets. A budget without prices bounds nothing.
    pub fn finish(self, sources: &[Source], report: &Report) -> (Option<ActivePlan>, Vec<Budget>) {
        if self.plan.is_none() {
            for (index, span) in self.places {
                let Some(source) = sources.get(index) else { continue };
                let message = "a budget needs prices, and no price plan is in force";
                let hint = "name the plan in faultgate.toml: `[gateway] plan = \"plan.toml\"`";
                report.error(source, span, "missing-key", message, hint);
            }
        }
        let told = self.told;
        (self.plan.map(|plan| ActivePlan::new(plan, told)), self.budgets)
    }
}
