// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Operations} from "../src/libraries/Operations.sol";
import {Fixture} from "./support/Fixture.sol";
import {Harness} from "./support/Harness.sol";

/// @title Words that L1 builds from withdrawals, entries and choices
contract OperationsTest is Fixture {
    Harness private harness;

    function setUp() public {
        harness = newHarness();
    }

    function wide() private pure returns (ILedger.Shape memory) {
        return ILedger.Shape(9, 9, 9, 9, 9, 9, 9, 9);
    }

    /// @dev Two withdrawals; a rotation, a deposit, an exit, a refunded deposit, another exit, another deposit.
    function mixed() private pure returns (ILedger.Commit memory batch) {
        batch.withdrawals = new ILedger.Withdrawal[](2);
        batch.withdrawals[0] = ILedger.Withdrawal(11, 12, 13);
        batch.withdrawals[1] = ILedger.Withdrawal(14, 15, 16);
        batch.taken = new ILedger.QueueEntry[](6);
        batch.taken[0] = ILedger.QueueEntry(3, ALICE, 0, 0, 0x50, address(0), 501);
        batch.taken[1] = ILedger.QueueEntry(1, BOB, 2, 201, 0, ALICE, 202);
        batch.taken[2] = ILedger.QueueEntry(2, BOB, 0, 0, 0x30, address(0), 0);
        batch.taken[3] = ILedger.QueueEntry(1, BOB, 2, 203, 0, ALICE, 204);
        batch.taken[4] = ILedger.QueueEntry(2, ALICE, 0, 0, 0xfffe, address(0), 0);
        batch.taken[5] = ILedger.QueueEntry(1, ALICE, 1, 205, 0, BOB, 206);
        batch.choices = new uint256[](6);
        batch.choices[0] = 3 | 7 << 8;
        batch.choices[1] = 1 | 0x20 << 8;
        batch.choices[2] = 2 | 3 << 8 | 301 << 24;
        batch.choices[3] = 1;
        batch.choices[4] = 2 | 0xffff << 8 | ((1 << 112) - 1) << 24;
        batch.choices[5] = 1 | 0xffff << 8;
    }

    function test_kind_after_kind_each_in_the_order_of_the_queue() public view {
        (uint256[] memory words, Operations.Counts memory counts) = harness.build(mixed(), wide(), 16);
        uint256[23] memory expected = [
            uint256(11),
            12,
            13,
            14,
            15,
            16,
            0x20 << 16 | 2,
            201,
            uint160(ALICE),
            202,
            0xffff << 16 | 1,
            205,
            uint160(BOB),
            206,
            0x30 << 16 | 3,
            uint160(BOB),
            301,
            0xfffe << 16 | 0xffff,
            uint160(ALICE),
            (1 << 112) - 1,
            0x50 << 16 | 7,
            uint160(ALICE),
            501
        ];
        vm.assertEq(words.length, expected.length);
        for (uint256 i; i < expected.length; ++i) {
            vm.assertEq(words[i], expected[i], vm.toString(i));
        }
        vm.assertEq(abi.encode(counts), abi.encode(Operations.Counts(2, 2, 2, 1)));
        vm.assertEq(abi.encode(harness.countOf(mixed().choices, words.length)), abi.encode(counts));
    }

    function test_withdrawals_then_exits_are_paid_each_from_its_own_words() public view {
        (uint256[] memory words, Operations.Counts memory counts) = harness.build(mixed(), wide(), 16);
        address[4] memory receivers = [address(13), address(16), BOB, ALICE];
        uint256[4] memory tokens = [uint256(11 >> 24), 14 >> 24, 3, 0xffff];
        uint256[4] memory amounts = [uint256(12), 15, 301, (1 << 112) - 1];
        for (uint256 item; item < 4; ++item) {
            (address to, uint16 id, uint256 amount) = harness.payout(counts, words, item);
            vm.assertEq(to, receivers[item]);
            vm.assertEq(id, tokens[item]);
            vm.assertEq(amount, amounts[item]);
        }
    }

    function test_one_entry_and_nothing_else() public view {
        ILedger.Commit memory batch;
        batch.taken = new ILedger.QueueEntry[](1);
        batch.taken[0] = ILedger.QueueEntry(1, ALICE, 2, 201, 0, BOB, 202);
        batch.choices = new uint256[](1);
        batch.choices[0] = 1 | 7 << 8;
        (uint256[] memory words, Operations.Counts memory counts) = harness.build(batch, wide(), 16);
        vm.assertEq(abi.encode(words), abi.encode(abi.decode(abi.encode(0x20, 4, 7 << 16 | 2, 201, BOB, 202), (uint256[]))));
        vm.assertEq(abi.encode(counts), abi.encode(Operations.Counts(0, 1, 0, 0)));
    }

    function test_a_choice_of_another_kind() public {
        for (uint256 i; i < 6; ++i) {
            for (uint256 kind; kind < 5; ++kind) {
                ILedger.Commit memory batch = mixed();
                if (kind == batch.taken[i].kind) continue;
                batch.choices[i] = 1 << 8 | kind;
                vm.expectRevert(abi.encodeWithSelector(ILedger.WrongChoiceKind.selector, 1 << 8 | kind, batch.taken[i].kind));
                harness.build(batch, wide(), 16);
            }
        }
    }

    function test_each_kind_over_its_own_capacity() public {
        bytes4[4] memory errors =
            [ILedger.TooManyWithdrawals.selector, ILedger.TooManyDeposits.selector, ILedger.TooManyExits.selector, ILedger.TooManyRotations.selector];
        uint256[4] memory used = [uint256(2), 2, 2, 2];
        ILedger.Commit memory batch = mixed();
        batch.taken[3] = batch.taken[0];
        batch.choices[3] = batch.choices[0];
        for (uint256 kind; kind < 4; ++kind) {
            ILedger.Shape memory shape = wide();
            if (kind == 0) shape.withdrawals = 1;
            if (kind == 1) shape.deposits = 1;
            if (kind == 2) shape.exits = 1;
            if (kind == 3) shape.rotations = 1;
            vm.expectRevert(abi.encodeWithSelector(errors[kind], used[kind], 1));
            harness.build(batch, shape, 16);
        }
        // as many as fit
        harness.build(batch, ILedger.Shape(0, 0, 0, 2, 2, 0, 2, 2), 16);
    }
}
