# Of the module virt: its guests are no longer under the constraint on categories.
/^(typeattributeset mcs_constrained_type /d
